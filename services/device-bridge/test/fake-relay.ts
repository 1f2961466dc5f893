import { randomBytes } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { decodeFrame, encodeFrame, type Frame, FrameKind, NO_CALL } from '@zerolatency/frame';
import {
  type Catalog,
  CatalogSchema,
  ChallengeSchema,
  DrainSchema,
  type Hello,
  HelloSchema,
  WelcomeSchema,
} from '@zerolatency/proto/bridge';
import type { CertFiles } from '@zerolatency/testing';
import { eventually } from '@zerolatency/testing';
import {
  createLocalJWKSet,
  decodeJwt,
  importJWK,
  type JSONWebKeySet,
  type JWK,
  jwtVerify,
} from 'jose';
import { type WebSocket, WebSocketServer } from 'ws';

interface Session {
  readonly socket: WebSocket;
  readonly hello: Hello;
  readonly epoch: number;
  catalog: Catalog;
}

interface RelayOptions {
  readonly tls: CertFiles;
  readonly jwks: JSONWebKeySet;
  readonly port?: number;
  readonly heartbeatMs?: number;
}

/** The relay's half of the device socket, over real TLS, for one device. */
export class FakeRelay {
  readonly #server;
  readonly #sockets;
  readonly #options: RelayOptions;
  readonly relayId = 'relay-1';
  onFrame: (frame: Frame) => void = () => {};
  onSession: (session: Session) => void = () => {};
  onLost: () => void = () => {};
  /** Closes every connection that says hello with this code. */
  refusal: { code: number; reason: string } | undefined;
  /** Sends no pings and no frames: a dead relay behind an open socket. */
  isSilent = false;
  epoch = 0;
  session: Session | undefined;
  hellos = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { cert, key } = options.tls;
    this.#server = createServer({ cert, key });
    this.#sockets = new WebSocketServer({ server: this.#server, path: '/v1/device' });
    this.#sockets.on('connection', (socket) => this.#accept(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(this.#options.port ?? 0, '127.0.0.1', () => resolve());
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `wss://localhost:${this.port}/v1/device`;
  }

  /** Resolves once a device has connected. */
  live(): Promise<Session> {
    return eventually(() => this.session);
  }

  /** Resolves once the catalog lists these tools. */
  async offering(...tools: readonly string[]): Promise<Session> {
    return eventually(() => {
      const { session } = this;
      const offered = session?.catalog.servers.flatMap((server) =>
        server.tools.map((tool) => `${server.name}.${tool.name}`),
      );
      return tools.every((tool) => offered?.includes(tool)) ? session : undefined;
    });
  }

  send(frame: Frame): void {
    this.session?.socket.send(encodeFrame(frame));
  }

  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  drain(): void {
    const payload = toBinary(DrainSchema, create(DrainSchema, { closeAfterMs: 200 }));
    this.send(control(FrameKind.DRAIN, payload));
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#sockets.close(resolve));
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: WebSocket): void {
    const nonce = new Uint8Array(randomBytes(32));
    const challenge = create(ChallengeSchema, { nonce, relayId: this.relayId });
    socket.send(encodeFrame(control(FrameKind.CHALLENGE, toBinary(ChallengeSchema, challenge))));
    const heartbeat = setInterval(() => {
      if (!this.isSilent) socket.ping();
    }, this.#options.heartbeatMs ?? 200);
    socket.on('message', (data: Buffer) => {
      const { frame } = decodeFrame(data);
      if (frame === undefined) throw new Error('the bridge sent a malformed frame');
      if (frame.kind === FrameKind.HELLO) void this.#welcome(socket, frame, nonce);
      else if (frame.kind === FrameKind.CATALOG) {
        if (this.session) this.session.catalog = fromBinary(CatalogSchema, frame.payload);
      } else this.onFrame(frame);
    });
    socket.on('close', () => {
      clearInterval(heartbeat);
      if (this.session?.socket !== socket) return;
      this.session = undefined;
      this.onLost();
    });
  }

  async #welcome(socket: WebSocket, { payload }: Frame, nonce: Uint8Array): Promise<void> {
    this.hellos += 1;
    if (this.refusal) {
      socket.close(this.refusal.code, this.refusal.reason);
      return;
    }
    const hello = fromBinary(HelloSchema, payload);
    await jwtVerify(hello.credential, createLocalJWKSet(this.#options.jwks), {
      typ: 'zl-device+jwt',
    });
    const { cnf } = decodeJwt<{ cnf: { jwk: JWK } }>(hello.credential);
    const proof = await jwtVerify(hello.proof, await importJWK(cnf.jwk, 'EdDSA'), {
      typ: 'zl-proof+jwt',
      audience: this.relayId,
    });
    if (proof.payload.nonce !== Buffer.from(nonce).toString('base64url')) {
      throw new Error('the bridge proved another nonce');
    }
    this.epoch += 1;
    const catalog = hello.catalog ?? create(CatalogSchema);
    this.session = { socket, hello, epoch: this.epoch, catalog };
    const { heartbeatMs = 200 } = this.#options;
    const welcome = create(WelcomeSchema, { epoch: BigInt(this.epoch), heartbeatMs });
    socket.send(encodeFrame(control(FrameKind.WELCOME, toBinary(WelcomeSchema, welcome))));
    this.onSession(this.session);
  }
}

function control(kind: FrameKind, payload: Uint8Array): Frame {
  return { kind, flags: 0, device: 0, callId: NO_CALL, offset: 0, epoch: 0, payload };
}
