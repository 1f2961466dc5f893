import { generateKeyPairSync } from 'node:crypto';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { decodeFrame, encodeFrame, type Frame, FrameKind } from '@zerolatency/frame';
import {
  CatalogSchema,
  ChallengeSchema,
  DrainSchema,
  RedirectSchema,
  WelcomeSchema,
} from '@zerolatency/proto/bridge';
import { eventually, FakeClock, type FakeTimer } from '@zerolatency/testing';
import { Connection } from '../src/connection/connection.ts';
import { controlFrame } from '../src/connection/handshake.ts';
import type { Dial, SocketEvents, Transport } from '../src/ports.ts';

const { privateKey, publicKey: devicePublicKey } = generateKeyPairSync('ed25519');

export { devicePublicKey };

interface FakeSocket {
  readonly url: string;
  readonly transport: Transport;
  isReached: boolean;
  readonly events: SocketEvents;
  readonly sent: Frame[];
  bufferedBytes: number;
  closed: string;
}

export type ConnectionRig = ReturnType<typeof connectionRig>;

/** A connection whose relays and clock the test controls. */
export function connectionRig({ lastEpoch = 0 } = {}) {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  const log: string[] = [];
  const frames: { frame: Frame; host: string }[] = [];
  const ignored: string[] = [];
  let identity: () => Promise<{ credential: string; key: typeof privateKey }> = async () => ({
    credential: 'credential',
    key: privateKey,
  });
  const dialOver =
    (transport: Transport): Dial =>
    (url, events) => {
      const unused = { sent: [], bufferedBytes: 0, closed: '', isReached: false };
      const socket: FakeSocket = { url, transport, events, ...unused };
      sockets.push(socket);
      return {
        get isReached() {
          return socket.isReached;
        },
        get bufferedBytes() {
          return socket.bufferedBytes;
        },
        send: (bytes) => socket.sent.push(decodeFrame(bytes).frame!),
        close: (code) => {
          socket.closed ||= `close ${code}`;
        },
        terminate: () => {
          socket.closed ||= 'terminate';
        },
      };
    };
  const connection = new Connection({
    relays: ['wss://one', 'wss://two'],
    dials: { websocket: dialOver('websocket'), http_stream: dialOver('http_stream') },
    clock: {
      ...clock,
      monotonicMs: clock.nowMs,
      clearTimeout: (timer) => clock.clearTimeout(timer as FakeTimer),
    },
    random: () => 0.5,
    journalId: new Uint8Array(16).fill(9),
    lastEpoch,
    bridgeVersion: '1.2.3',
    limits: {
      handshakeMs: 10_000,
      minBackoffMs: 100,
      maxBackoffMs: 5_000,
      maxBufferedBytes: 1000,
      retryWebSocketMs: 60_000,
    },
    loadIdentity: () => identity(),
    catalog: () => create(CatalogSchema, { servers: [{ name: 'fs' }] }),
    listener: {
      onLive: (epoch) => log.push(`live ${epoch}`),
      onLost: () => log.push('lost'),
      onFrame: (frame, host) => frames.push({ frame, host }),
      onCredential: (frame) => frames.push({ frame, host: '' }),
      onIgnored: () => ignored.push(connection.state.name),
      onState: () => {},
      onRedirect: (from, to) => log.push(`redirect ${from} ${to}`),
      onAttempt: (outcome) => log.push(`attempt ${outcome}`),
    },
  });
  const attempt = () =>
    connection.state.name === 'live' ? connection.state.successor : connection.state;
  /** The relay's end of one socket. */
  const relayAt = (socket: () => FakeSocket) => ({
    get socket() {
      return socket();
    },
    open: () => socket().events.onOpen(),
    says: (kind: FrameKind, payload: Uint8Array = new Uint8Array()) =>
      socket().events.onMessage(encodeFrame(controlFrame(kind, payload))),
    challenges() {
      const challenge = { nonce: new Uint8Array(32).fill(7), relayId: 'relay-1' };
      const sent = socket().sent.length;
      this.says(FrameKind.CHALLENGE, toBinary(ChallengeSchema, create(ChallengeSchema, challenge)));
      // Signing the proof takes time on another thread; nobody answers on a socket that is closed.
      const isOver = () => attempt()?.name !== 'proving' || socket().closed !== '';
      return eventually(() => isOver() || socket().sent.length > sent);
    },
    welcomes(welcome: MessageInitShape<typeof WelcomeSchema> = { epoch: 3n }) {
      const message = create(WelcomeSchema, { heartbeatMs: 1000, ...welcome });
      this.says(FrameKind.WELCOME, toBinary(WelcomeSchema, message));
    },
    drains(closeAfterMs = 1000) {
      this.says(FrameKind.DRAIN, toBinary(DrainSchema, create(DrainSchema, { closeAfterMs })));
    },
    redirects(url: string, withinMs = 0) {
      const payload = toBinary(RedirectSchema, create(RedirectSchema, { url, withinMs }));
      this.says(FrameKind.REDIRECT, payload);
    },
    closes(code: number, reason = '') {
      socket().closed ||= 'by the relay';
      socket().events.onClose({ code, reason });
    },
  });
  /** The relay end of the socket that was dialled last. */
  const relay = relayAt(() => sockets.at(-1)!);
  const goLive = async () => {
    connection.start();
    relay.open();
    await relay.challenges();
    relay.welcomes();
  };
  const identify = (next: typeof identity) => {
    identity = next;
  };
  const relays = (nth: number) => relayAt(() => sockets[nth]!);
  return { connection, clock, sockets, log, frames, ignored, relay, relays, goLive, identify };
}
