import type { IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { callKey, type Frame, FrameKind } from '@zerolatency/frame';
import { verifyPeerToken } from '@zerolatency/identity';
import { type Catalog, DrainSchema } from '@zerolatency/proto/bridge';
import {
  OpenedSchema,
  OpenSchema,
  RouteLostReason,
  RouteLostSchema,
} from '@zerolatency/proto/link';
import { serverTlsOptions } from '@zerolatency/service/tls';
import {
  type CertFiles,
  type FrameFields,
  frameBytes,
  onFrames,
  type Refusal,
  SocketServer,
} from '@zerolatency/testing';
import type { WebSocket } from 'ws';
import type { FakeDirectory } from './fake-directory.ts';

/** A device as its relay knows it. */
export interface RelayedDevice {
  readonly tenant: string;
  readonly deviceId: string;
  readonly journalId: Uint8Array;
  readonly catalog: Catalog;
  readonly credential: string;
  readonly features?: readonly string[];
  attach(epoch: number, send: (frame: Frame) => void): void;
  detach(): void;
  receive(frame: Frame): void;
}

interface Connected {
  readonly device: RelayedDevice;
  readonly epoch: number;
}

/** Changes a frame on its way: returns the frames to forward instead of it. */
export type Tamper = (frame: Frame, direction: 'to device' | 'to host') => readonly Frame[];

/** A relay's half of the links to hosts: real TLS, sockets and frames, but no limits and no registry. */
export class LinkRelay extends SocketServer {
  relayId: string;
  readonly ca: string;
  /** The address in the directory, if it is not the real one. */
  advertisedUrl = '';
  pings = 0;
  readonly #directory: FakeDirectory;
  readonly #rpc: http2.Http2SecureServer;
  readonly #links = new Map<WebSocket, Map<number, string>>();
  readonly #devices = new Map<string, Connected>();
  readonly #callers = new Map<string, { link: WebSocket; handle: number }>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  /** The kinds of the frames that hosts sent, in order. */
  readonly seen: FrameKind[] = [];
  tamper: Tamper = (frame) => [frame];
  mute = false;

  constructor(relayId: string, files: CertFiles, directory: FakeDirectory) {
    super(files);
    this.relayId = relayId;
    this.ca = files.ca;
    this.#directory = directory;
    this.#rpc = http2.createSecureServer(
      { ...serverTlsOptions(files, { requireClient: true }) },
      connectNodeAdapter({ routes: (router) => directory.routesOf(this, router) }),
    );
    this.#rpc.on('session', (session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session));
    });
  }

  get rpcUrl(): string {
    return `https://127.0.0.1:${(this.#rpc.address() as AddressInfo).port}`;
  }

  get linkUrl(): string {
    return this.advertisedUrl || this.url;
  }

  get links(): number {
    return this.#links.size;
  }

  override async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#rpc.listen(0, '127.0.0.1', resolve));
    return super.listen();
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

  /** Sends OPENED again to every host that has the device open. */
  announce(device: RelayedDevice): void {
    const key = `${device.tenant}/${device.deviceId}`;
    for (const [link, handles] of this.#links) {
      for (const [handle, opened] of handles) if (opened === key) this.#opened(link, handle, key);
    }
  }

  drain(): void {
    const payload = toBinary(DrainSchema, create(DrainSchema, { closeAfterMs: 1000 }));
    this.broadcast(frameBytes({ kind: FrameKind.DRAIN, payload }));
  }

  /** Acts like SIGSTOP: messages stay in the kernel and get no answer. */
  freeze(): void {
    for (const link of this.#links.keys()) link.pause();
  }

  /** Acts like SIGKILL: the sockets end, and leases stay until another relay takes them over. */
  async kill(): Promise<void> {
    for (const { device } of this.#devices.values()) device.detach();
    this.#devices.clear();
    for (const session of this.#sessions) session.destroy();
    await super.close();
    if (this.#rpc.listening) await new Promise((resolve) => this.#rpc.close(resolve));
  }

  protected override refusalOf({ headers }: IncomingMessage): Refusal | undefined {
    const token = (headers.authorization ?? '').replace('Bearer ', '');
    const nowMs = Date.now();
    const peer = verifyPeerToken(token, { ca: this.ca, audience: this.relayId, nowMs });
    return 'error' in peer ? { status: 401, reason: peer.error.message } : undefined;
  }

  protected accept(link: WebSocket): void {
    this.#links.set(link, new Map());
    onFrames(link, (frame) => {
      if (this.mute) return;
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
      deviceFeatures: [...(device.features ?? [])],
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

  #send(link: WebSocket, fields: FrameFields): void {
    link.send(frameBytes(fields));
  }
}

function lost(reason: RouteLostReason): Uint8Array {
  return toBinary(RouteLostSchema, create(RouteLostSchema, { reason }));
}
