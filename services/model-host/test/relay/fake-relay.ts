import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  callKey,
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameKind,
  NO_CALL,
  NO_PAYLOAD,
} from '@zerolatency/frame';
import { verifyPeerToken } from '@zerolatency/identity';
import { type Catalog, DrainSchema } from '@zerolatency/proto/bridge';
import {
  OpenedSchema,
  OpenSchema,
  RouteLostReason,
  RouteLostSchema,
} from '@zerolatency/proto/link';
import { serverTlsOptions } from '@zerolatency/service/tls';
import type { CertFiles } from '@zerolatency/testing';
import { type WebSocket, WebSocketServer } from 'ws';
import type { FakeDirectory } from './fake-directory.ts';

/** What a relay sees of a device. */
export interface RelayedDevice {
  readonly tenant: string;
  readonly deviceId: string;
  readonly journalId: Uint8Array;
  readonly catalog: Catalog;
  readonly credential: string;
  attach(epoch: number, send: (frame: Frame) => void): void;
  detach(): void;
  receive(frame: Frame): void;
}

interface Connected {
  readonly device: RelayedDevice;
  readonly epoch: number;
}

/** What a test may do to frames on their way. Answers the frames that go on instead. */
export type Tamper = (frame: Frame, direction: 'to device' | 'to host') => readonly Frame[];

/** A relay pod in this process: real TLS, real sockets, real frames; no bounds and no registry. */
export class FakeRelay {
  relayId: string;
  readonly ca: string;
  /** What the directory tells hosts to dial, where that is not the true address. */
  advertisedUrl = '';
  /** Links ever accepted. */
  accepted = 0;
  pings = 0;
  readonly #directory: FakeDirectory;
  readonly #rpc: http2.Http2SecureServer;
  readonly #http: https.Server;
  readonly #links = new Map<WebSocket, Map<number, string>>();
  readonly #devices = new Map<string, Connected>();
  readonly #callers = new Map<string, { link: WebSocket; handle: number }>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  /** Kinds of frames seen from hosts, in order. */
  readonly seen: FrameKind[] = [];
  tamper: Tamper = (frame) => [frame];
  mute = false;

  constructor(relayId: string, files: CertFiles, directory: FakeDirectory) {
    this.relayId = relayId;
    this.ca = files.ca;
    this.#directory = directory;
    this.#rpc = http2.createSecureServer(
      { ...serverTlsOptions(files, { requireClient: true }) },
      connectNodeAdapter({ routes: directory.routes }),
    );
    this.#rpc.on('session', (session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session));
    });
    this.#http = https.createServer(serverTlsOptions(files, { requireClient: false }));
    const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
    this.#http.on('upgrade', (request, socket, head) => {
      const token = (request.headers.authorization ?? '').replace('Bearer ', '');
      const nowMs = Date.now();
      const peer = verifyPeerToken(token, { ca: files.ca, audience: this.relayId, nowMs });
      if ('error' in peer) socket.end(`HTTP/1.1 401 Unauthorized\r\n\r\n${peer.error.message}`);
      else sockets.handleUpgrade(request, socket, head, (link) => this.#accept(link));
    });
  }

  get rpcUrl(): string {
    return `https://127.0.0.1:${portOf(this.#rpc)}`;
  }

  get linkUrl(): string {
    return this.advertisedUrl || `wss://127.0.0.1:${portOf(this.#http)}`;
  }

  get links(): number {
    return this.#links.size;
  }

  async listen(): Promise<this> {
    await Promise.all([this.#rpc, this.#http].map((server) => listen(server)));
    return this;
  }

  connect(device: RelayedDevice): void {
    const key = `${device.tenant}/${device.deviceId}`;
    const epoch = this.#directory.lease(device.tenant, device.deviceId, this);
    this.#devices.set(key, { device, epoch });
    device.attach(epoch, (frame) => this.#toHost(key, epoch, frame));
  }

  disconnect(device: RelayedDevice, reason = RouteLostReason.DISCONNECTED): void {
    const key = `${device.tenant}/${device.deviceId}`;
    const connected = this.#devices.get(key);
    if (connected === undefined) return;
    this.#devices.delete(key);
    this.#directory.release(device.tenant, device.deviceId, connected.epoch);
    device.detach();
    for (const [link, handles] of this.#links) {
      for (const [handle, opened] of handles) {
        if (opened !== key) continue;
        handles.delete(handle);
        this.#send(link, { kind: FrameKind.ROUTE_LOST, device: handle, payload: lost(reason) });
      }
    }
  }

  /** OPENED again, to every host that holds the device open. */
  announce(device: RelayedDevice): void {
    const key = `${device.tenant}/${device.deviceId}`;
    for (const [link, handles] of this.#links) {
      for (const [handle, opened] of handles) if (opened === key) this.#opened(link, handle, key);
    }
  }

  drain(): void {
    const payload = toBinary(DrainSchema, create(DrainSchema, { closeAfterMs: 1000 }));
    for (const link of this.#links.keys())
      this.#send(link, { kind: FrameKind.DRAIN, device: 0, payload });
  }

  broadcast(message: string | Buffer): void {
    for (const link of this.#links.keys()) link.send(message);
  }

  cutLinks(): void {
    for (const link of this.#links.keys()) link.terminate();
  }

  /** As SIGSTOP would: what arrives stays in the kernel, and nothing is answered. */
  freeze(): void {
    for (const link of this.#links.keys()) link.pause();
  }

  /** As kill -9 would: sockets end, leases stay until someone takes them over. */
  async kill(): Promise<void> {
    for (const { device } of this.#devices.values()) device.detach();
    this.#devices.clear();
    this.cutLinks();
    for (const session of this.#sessions) session.destroy();
    this.#http.closeAllConnections();
    const servers = [this.#rpc, this.#http].filter((server) => server.listening);
    await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  }

  #accept(link: WebSocket): void {
    this.accepted += 1;
    this.#links.set(link, new Map());
    link.on('message', (data: Buffer) => {
      const { frame } = decodeFrame(data);
      if (frame === undefined || this.mute) return;
      this.seen.push(frame.kind);
      for (const passed of this.tamper(frame, 'to device')) this.#fromHost(link, passed);
    });
    link.on('ping', () => {
      this.pings += 1;
    });
    link.on('close', () => this.#links.delete(link));
    link.on('error', () => link.terminate());
  }

  #fromHost(link: WebSocket, frame: Frame): void {
    const handles = this.#links.get(link);
    if (handles === undefined) return;
    if (frame.kind === FrameKind.OPEN) {
      const { tenant, deviceId } = fromBinary(OpenSchema, frame.payload);
      handles.set(frame.device, `${tenant}/${deviceId}`);
      this.#opened(link, frame.device, `${tenant}/${deviceId}`);
      return;
    }
    const key = handles.get(frame.device);
    const connected = key === undefined ? undefined : this.#devices.get(key);
    if (frame.kind === FrameKind.CLOSE) handles.delete(frame.device);
    else if (connected !== undefined && connected.epoch === frame.epoch) {
      this.#callers.set(callKey(frame.callId), { link, handle: frame.device });
      connected.device.receive({ ...frame, device: 0 });
    }
  }

  #opened(link: WebSocket, handle: number, key: string): void {
    const connected = this.#devices.get(key);
    if (connected === undefined) {
      this.#links.get(link)?.delete(handle);
      const payload = lost(RouteLostReason.NOT_HERE);
      this.#send(link, { kind: FrameKind.ROUTE_LOST, device: handle, payload });
      return;
    }
    const { device, epoch } = connected;
    const opened = create(OpenedSchema, {
      epoch: BigInt(epoch),
      journalId: device.journalId,
      catalog: device.catalog,
      credential: device.credential,
    });
    const payload = toBinary(OpenedSchema, opened);
    this.#send(link, { kind: FrameKind.OPENED, device: handle, epoch, payload });
  }

  #toHost(key: string, epoch: number, frame: Frame): void {
    if (this.#devices.get(key)?.epoch !== epoch) return;
    const caller = this.#callers.get(callKey(frame.callId));
    if (caller === undefined) return;
    const routed = { ...frame, device: caller.handle };
    for (const passed of this.tamper(routed, 'to host')) this.#send(caller.link, passed);
  }

  #send(link: WebSocket, frame: Pick<Frame, 'kind' | 'device'> & Partial<Frame>): void {
    const bare = { flags: 0, callId: NO_CALL, offset: 0, epoch: 0, payload: NO_PAYLOAD };
    link.send(encodeFrame({ ...bare, ...frame }));
  }
}

function lost(reason: RouteLostReason): Uint8Array {
  return toBinary(RouteLostSchema, create(RouteLostSchema, { reason }));
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
}

function portOf(server: Server): number {
  // A bound TCP server has an address of this kind.
  return (server.address() as AddressInfo).port;
}
