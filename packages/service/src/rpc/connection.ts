import {
  constants,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { Bucket } from '@zerolatency/service/network';

export interface ConnectionLimits {
  /** HTTP/2 itself tells clients the limit. */
  readonly maxStreams: number;
  /** Streams on one connection for which no access token is verified. */
  readonly maxUnprovedStreams: number;
  /** From the open socket to the first request, and between requests until one is authenticated. */
  readonly handshakeMs: number;
  /** Without an open stream. */
  readonly idleMs: number;
  /** A part of a response that nobody takes, or a request without a token or of HTTP/1.1 that is not complete. */
  readonly stalledMs: number;
}

/** Why a connection, or one of its streams, was refused or closed: a metric label. */
export const CUT_REASONS = [
  'total',
  'address',
  'rate',
  'evicted',
  'handshake',
  'idle',
  'silent',
  'flood',
  'stalled',
  'streams',
  'refused',
] as const;

export type CutReason = (typeof CUT_REASONS)[number];

/** Before a peer is authenticated: what most clients open at once before they know our limit. */
export const UNPROVED_CONCURRENT_STREAMS = 100;
/** A peer that sends nothing for this long is asked whether it is there. */
const ASK_AFTER_MS = 60_000;
const ANSWER_WITHIN_MS = 20_000;
/** Requests without a valid token, and PING, SETTINGS and GOAWAY frames: a burst, then so many a second. */
const UNPROVED_REQUESTS = { burst: UNPROVED_CONCURRENT_STREAMS, perSecond: 20 };
const CONTROL_FRAMES = { burst: 200, perSecond: 10 };
/** Bytes of frames that neither open a stream, carry a body nor answer what was sent: a burst, then so many a second. */
const IDLE_FRAMES = { burstBytes: 256 * 1024, bytesPerSecond: 64 * 1024 };
/** Headers, and frames about the stream. */
const STREAM_BYTES = 64 * 1024;
/** A client may cut its body into DATA frames of nine bytes, the size of their head. */
const WIRE_FACTOR = 2;
/** A peer that takes nothing would keep its socket after the GOAWAY. */
const LAST_WORDS_MS = 500;
/** More than an acknowledgement takes, so the server has sent something else as well. */
const DATA_SENT_BYTES = 100;

interface Exchange {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly isUnproved: boolean;
  readonly begunMs: number;
  unsentBytes: number;
  unsentSinceMs: number;
}

/** One connection of a listener: what it holds open, and for how long it may go on. */
export class Connection {
  /** The address of its peer, or of the client for whom a load balancer connects. */
  readonly address: string;
  readonly network: string;
  readonly #clock: () => number;
  readonly #limits: ConnectionLimits;
  readonly #exchanges = new Set<Exchange>();
  #socket: Socket;
  readonly #requests: Bucket;
  readonly #controls: Bucket;
  #onProved: (() => void) | undefined;
  #isProvedByTls = false;
  #session: ServerHttp2Session | undefined;
  #quietSinceMs: number;
  #readBytes = 0;
  #readSinceMs: number;
  #isAsked = false;
  #isDraining = false;
  #writtenBytes = 0;
  #accountedBytes = 0;
  #unaccountedBytes = 0;
  #idleFrameBytes = 0;
  #measuredMs: number;

  constructor(
    socket: Socket,
    options: {
      readonly address: string;
      readonly network: string;
      readonly limits: ConnectionLimits;
      readonly clock: () => number;
      readonly onProved: () => void;
    },
  ) {
    const { address, network, limits, clock, onProved } = options;
    const nowMs = clock();
    this.address = address;
    this.network = network;
    this.#socket = socket;
    this.#limits = limits;
    this.#clock = clock;
    this.#quietSinceMs = nowMs;
    this.#readSinceMs = nowMs;
    this.#measuredMs = nowMs;
    this.#requests = new Bucket(UNPROVED_REQUESTS, nowMs);
    this.#controls = new Bucket(CONTROL_FRAMES, nowMs);
    this.#onProved = onProved;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** That of TLS, once its handshake is done. */
  get socket(): Socket {
    return this.#socket;
  }

  get isProved(): boolean {
    return this.#onProved === undefined;
  }

  /** The peer has shown who it is. */
  prove(): void {
    if (this.#onProved === undefined) return;
    this.#onProved();
    this.#onProved = undefined;
    this.#allowStreams();
  }

  /** TLS is complete; its socket stands for the one it was made of. */
  secure(socket: Socket, { isProof }: { readonly isProof: boolean }): void {
    this.#socket = socket;
    this.#isProvedByTls = isProof;
    if (isProof) this.prove();
  }

  attach(session: ServerHttp2Session): void {
    this.#session = session;
    if (this.isProved) this.#allowStreams();
  }

  /** Called before any of the body is read. */
  account(stream: ServerHttp2Stream): void {
    this.#accountedBytes += STREAM_BYTES;
    const push = stream.push.bind(stream);
    stream.push = (chunk, encoding) => {
      this.#accountedBytes += WIRE_FACTOR * (chunk?.length ?? 0);
      return push(chunk, encoding);
    };
  }

  /** Node hands up no WINDOW_UPDATE, PRIORITY, unknown or empty frame: only their bytes show them. */
  isFlooding(): boolean {
    if (this.#session === undefined) return false;
    const nowMs = this.#clock();
    const { bytesRead, bytesWritten } = this.#socket;
    const unaccountedBytes = bytesRead - bytesWritten - this.#accountedBytes;
    const allowedBytes = (IDLE_FRAMES.bytesPerSecond * (nowMs - this.#measuredMs)) / 1000;
    const grownBytes = unaccountedBytes - this.#unaccountedBytes - allowedBytes;
    this.#idleFrameBytes = Math.max(0, this.#idleFrameBytes + grownBytes);
    this.#unaccountedBytes = unaccountedBytes;
    this.#measuredMs = nowMs;
    return this.#idleFrameBytes > IDLE_FRAMES.burstBytes;
  }

  /** False when the peer sends more PING, SETTINGS and GOAWAY frames than anybody needs. */
  takeControlFrame(): boolean {
    const writtenBytes = this.#socket.bytesWritten;
    const hasSentData = writtenBytes - this.#writtenBytes > DATA_SENT_BYTES;
    this.#writtenBytes = writtenBytes;
    // Clients of gRPC measure the path with a PING for each burst of data.
    return hasSentData || this.#controls.take(this.#clock());
  }

  /** Undefined when the request may be served. */
  begin(
    request: Http2ServerRequest,
    response: Http2ServerResponse,
    { isVerified }: { readonly isVerified: boolean },
  ): 'flood' | 'streams' | undefined {
    const nowMs = this.#clock();
    if (!this.isProved && !this.#requests.take(nowMs)) return 'flood';
    const isUnproved = !this.#isProvedByTls && !isVerified;
    const exchange = {
      ...{ request, response, isUnproved, begunMs: nowMs },
      ...{ unsentBytes: 0, unsentSinceMs: nowMs },
    };
    const unproved = [...this.#exchanges].filter((each) => each.isUnproved).length;
    this.#exchanges.add(exchange);
    response.once('close', () => {
      this.#exchanges.delete(exchange);
      this.#quietSinceMs = this.#clock();
      if (this.#isDraining) this.drain();
    });
    return isUnproved && unproved >= this.#limits.maxUnprovedStreams ? 'streams' : undefined;
  }

  /** Closes streams that are stalled, and says how many. */
  cutStalled(): number {
    const nowMs = this.#clock();
    let cut = 0;
    for (const exchange of this.#exchanges) {
      if (!this.#isStalled(exchange, nowMs)) continue;
      cut += 1;
      const { stream } = exchange.response;
      // HTTP/1.1 has a response and no stream.
      if (stream === undefined) this.#socket.destroy();
      else stream.close(constants.NGHTTP2_CANCEL);
    }
    return cut;
  }

  /** Why the connection is to be closed now. */
  overdue(): 'handshake' | 'idle' | 'silent' | undefined {
    const nowMs = this.#clock();
    if (this.#exchanges.size > 0) return this.#isSilent(nowMs) ? 'silent' : undefined;
    const quietMs = nowMs - this.#quietSinceMs;
    if (!this.isProved) return quietMs > this.#limits.handshakeMs ? 'handshake' : undefined;
    return quietMs > this.#limits.idleMs ? 'idle' : undefined;
  }

  /** Open streams end by themselves; new ones need a new connection. */
  drain(): void {
    this.#isDraining = true;
    this.#session?.close();
    if (this.#session === undefined && this.#exchanges.size === 0) this.#socket.destroy();
  }

  /** Ends the connection with all its streams, and tells a peer of HTTP/2 why. */
  destroy(): void {
    this.#session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.#session?.destroy();
    if (this.#session === undefined) this.#socket.destroy();
    else setTimeout(() => this.cut(), LAST_WORDS_MS).unref();
  }

  cut(): void {
    this.#socket.destroy();
  }

  #allowStreams(): void {
    // The peer may have left while its token was verified.
    if (this.#session === undefined || this.#session.destroyed) return;
    this.#session.settings({ maxConcurrentStreams: this.#limits.maxStreams });
  }

  #isStalled(exchange: Exchange, nowMs: number): boolean {
    const { request, response, isUnproved, begunMs } = exchange;
    const unsentBytes = (response.stream ?? response).writableLength;
    if (unsentBytes === 0 || unsentBytes !== exchange.unsentBytes) {
      exchange.unsentBytes = unsentBytes;
      exchange.unsentSinceMs = nowMs;
    }
    const { stalledMs, handshakeMs } = this.#limits;
    // A stream of HTTP/2 may stay open for a client that proved itself, and HTTP/1.1 has none.
    const isBounded = isUnproved || response.stream === undefined;
    if (isBounded && !request.complete && nowMs - begunMs > stalledMs) return true;
    return nowMs - exchange.unsentSinceMs > (this.isProved ? stalledMs : handshakeMs);
  }

  /** A peer that vanished without a word would hold its streams for ever. */
  #isSilent(nowMs: number): boolean {
    const { bytesRead } = this.#socket;
    if (bytesRead !== this.#readBytes) {
      this.#readBytes = bytesRead;
      this.#readSinceMs = nowMs;
      this.#isAsked = false;
    }
    const silentMs = nowMs - this.#readSinceMs;
    // HTTP/1.1 has no way to ask; TCP keep-alive notices its peers.
    if (this.#session === undefined || silentMs <= ASK_AFTER_MS) return false;
    if (!this.#isAsked) this.#session.ping(() => {});
    this.#isAsked = true;
    return silentMs > ASK_AFTER_MS + ANSWER_WITHIN_MS;
  }
}
