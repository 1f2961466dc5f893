import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { encodeFrame, type Frame, FrameKind } from '@zerolatency/frame';
import {
  type Catalog,
  CatalogSchema,
  ChallengeSchema,
  DrainSchema,
  type Hello,
  HelloSchema,
  WelcomeSchema,
} from '@zerolatency/proto/bridge';
import {
  type CertFiles,
  eventually,
  frameBytes,
  onFrames,
  type Refusal,
  SocketServer,
} from '@zerolatency/testing';
import {
  createLocalJWKSet,
  decodeJwt,
  importJWK,
  type JSONWebKeySet,
  type JWK,
  jwtVerify,
} from 'jose';
import type { WebSocket } from 'ws';

const HEARTBEAT_MS = 200;
const PATH = '/v1/device';

interface Session {
  readonly socket: WebSocket;
  readonly hello: Hello;
  readonly epoch: number;
  catalog: Catalog;
}

interface RelayOptions {
  readonly tls: CertFiles;
  readonly jwks: JSONWebKeySet;
}

/** The relay's half of the device socket, over real TLS, for one device. */
export class DeviceRelay extends SocketServer {
  readonly #jwks: JSONWebKeySet;
  readonly relayId = 'relay-1';
  onFrame: (frame: Frame) => void = () => {};
  onSession: (session: Session) => void = () => {};
  onLost: () => void = () => {};
  /** Closes every connection with this code once it has sent its hello. */
  refusal: { code: number; reason: string } | undefined;
  /** Sends no pings and no frames: a dead relay behind an open socket. */
  isSilent = false;
  epoch = 0;
  session: Session | undefined;
  hellos = 0;

  constructor({ tls, jwks }: RelayOptions) {
    super(tls);
    this.#jwks = jwks;
  }

  override get url(): string {
    return `${super.url}${PATH}`;
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

  drain(): void {
    const payload = toBinary(DrainSchema, create(DrainSchema, { closeAfterMs: 200 }));
    this.session?.socket.send(frameBytes({ kind: FrameKind.DRAIN, payload }));
  }

  protected override refusalOf({ url }: IncomingMessage): Refusal | undefined {
    return url === PATH ? undefined : { status: 404, reason: `no socket at ${url}` };
  }

  protected accept(socket: WebSocket): void {
    const nonce = new Uint8Array(randomBytes(32));
    const challenge = create(ChallengeSchema, { nonce, relayId: this.relayId });
    const payload = toBinary(ChallengeSchema, challenge);
    socket.send(frameBytes({ kind: FrameKind.CHALLENGE, payload }));
    const heartbeat = setInterval(() => {
      if (!this.isSilent) socket.ping();
    }, HEARTBEAT_MS);
    onFrames(socket, (frame) => {
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
    await jwtVerify(hello.credential, createLocalJWKSet(this.#jwks), {
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
    const fields = { epoch: BigInt(this.epoch), heartbeatMs: HEARTBEAT_MS };
    const welcome = toBinary(WelcomeSchema, create(WelcomeSchema, fields));
    socket.send(frameBytes({ kind: FrameKind.WELCOME, payload: welcome }));
    this.onSession(this.session);
  }
}
