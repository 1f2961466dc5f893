import type { Http2ServerRequest, Http2Session, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { AddressGate, networkOf } from '@zerolatency/service/network';
import { Connection, type ConnectionLimits, type CutReason } from './connection.ts';

export interface ListenerLimits extends ConnectionLimits {
  readonly max: number;
  /** For one IPv4 address or IPv6 /64. */
  readonly perAddress: number;
  /** New ones in a second, of one address. */
  readonly connectsPerAddress: number;
  /** Connections whose peer has not been authenticated. */
  readonly maxUnproved: number;
}

/** For whom a connection is. */
export interface Origin {
  readonly address: string;
  /** It is for many, so no limit by address counts it. */
  readonly isShared: boolean;
}

export interface ConnectionsOptions {
  readonly limits: ListenerLimits;
  /** The client certificate of this socket is the proof. */
  readonly isProvedByTls: (socket: TLSSocket) => boolean;
  readonly onCut: (reason: CutReason, network: string) => void;
}

const MIN_SWEEP_MS = 50;
const MAX_SWEEP_MS = 1000;
/** An error sent at the deadline still has to reach its reader. */
const FLUSH_GRACE_MS = 500;

/** The connections of a listener: whom it admits, and whom it closes for others. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #gate: AddressGate;
  /** By the addresses of both ends, which TLS and HTTP/2 sockets have in common. */
  readonly #all = new Map<string, Connection>();
  /** The oldest first. */
  readonly #unproved = new Set<Connection>();
  readonly #perNetwork = new Map<string, number>();
  readonly #bySession = new WeakMap<Http2Session, Connection>();
  readonly #timer: NodeJS.Timeout;
  readonly #sweepEveryMs: number;
  #sweptMs = 0;
  #sweptAtMs = performance.now();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    const { connectsPerAddress, handshakeMs, idleMs, stalledMs } = options.limits;
    this.#gate = new AddressGate(connectsPerAddress);
    const shortestMs = Math.min(handshakeMs, idleMs, stalledMs);
    this.#sweepEveryMs = Math.max(MIN_SWEEP_MS, Math.min(MAX_SWEEP_MS, shortestMs / 4));
    this.#timer = setInterval(() => this.#sweep(), this.#sweepEveryMs).unref();
  }

  get size(): number {
    return this.#all.size;
  }

  get unproved(): number {
    return this.#unproved.size;
  }

  /** False when the socket is not to be served. Before TLS nothing can be said to its peer. */
  admit(socket: Socket, origin?: Origin): boolean {
    const { remoteAddress } = socket;
    // It has left already.
    if (remoteAddress === undefined) return false;
    const { address, isShared } = origin ?? { address: remoteAddress, isShared: false };
    const network = networkOf(address);
    const refusal = (isShared ? undefined : this.#refusalOf(network)) ?? this.#refusal();
    if (refusal !== undefined) {
      this.#options.onCut(refusal, network);
      return false;
    }
    const { limits } = this.#options;
    const connection: Connection = new Connection(socket, {
      ...{ address, network, limits },
      clock: () => this.#clock(),
      onProved: () => this.#unproved.delete(connection),
    });
    const ends = endsOf(socket);
    this.#all.set(ends, connection);
    this.#unproved.add(connection);
    this.#count(network, 1);
    socket.once('close', () => {
      this.#all.delete(ends);
      this.#unproved.delete(connection);
      this.#count(network, -1);
    });
    return true;
  }

  /** The socket that TLS made of one that was admitted. */
  secure(socket: TLSSocket): void {
    const isProof = this.#options.isProvedByTls(socket);
    this.#all.get(endsOf(socket))?.secure(socket, { isProof });
  }

  open(session: ServerHttp2Session): void {
    const connection = this.#all.get(endsOf(session.socket));
    // Its peer has left already.
    if (connection === undefined) {
      session.destroy();
      return;
    }
    this.#bySession.set(session, connection);
    connection.attach(session);
    session.on('stream', (stream) => connection.account(stream));
    const onControl = () => {
      if (!connection.takeControlFrame()) this.#endFlood(connection);
    };
    for (const event of ['ping', 'remoteSettings', 'goaway']) session.on(event, onControl);
  }

  /** Undefined when the peer has left already. */
  of({ stream, socket }: Http2ServerRequest): Connection | undefined {
    // HTTP/1.1 requests have no stream.
    if (stream === undefined) return this.#all.get(endsOf(socket));
    return stream.session && this.#bySession.get(stream.session);
  }

  /** Open streams end by themselves until the deadline. */
  async close(closed: Promise<void>, deadline: AbortSignal): Promise<void> {
    clearInterval(this.#timer);
    for (const connection of this.#all.values()) connection.drain();
    let timer: NodeJS.Timeout | undefined;
    const cutSoon = () => {
      timer = setTimeout(() => {
        for (const connection of this.#all.values()) connection.cut();
      }, FLUSH_GRACE_MS);
    };
    if (deadline.aborted) cutSoon();
    else deadline.addEventListener('abort', cutSoon, { once: true });
    await closed;
    deadline.removeEventListener('abort', cutSoon);
    clearTimeout(timer);
  }

  #refusalOf(network: string): CutReason | undefined {
    const { perAddress } = this.#options.limits;
    if (!this.#gate.admit(network, performance.now())) return 'rate';
    const ofNetwork = this.#perNetwork.get(network) ?? 0;
    const isFull = ofNetwork >= perAddress && !this.#evict((each) => each.network === network);
    return isFull ? 'address' : undefined;
  }

  #refusal(): CutReason | undefined {
    const { max, maxUnproved } = this.#options.limits;
    const isFull = this.#all.size >= max || this.#unproved.size >= maxUnproved;
    return isFull && !this.#evict(() => true) ? 'total' : undefined;
  }

  /** A newcomer may be honest; whoever has been silent about itself for longest is least so. */
  #evict(isCandidate: (connection: Connection) => boolean): boolean {
    for (const connection of this.#unproved) {
      if (!isCandidate(connection)) continue;
      this.#options.onCut('evicted', connection.network);
      this.#unproved.delete(connection);
      connection.destroy();
      return true;
    }
    return false;
  }

  #endFlood(connection: Connection): void {
    this.#options.onCut('flood', connection.network);
    connection.destroy();
  }

  #count(network: string, by: number): void {
    const count = (this.#perNetwork.get(network) ?? 0) + by;
    if (count === 0) this.#perNetwork.delete(network);
    else this.#perNetwork.set(network, count);
  }

  #sweep(): void {
    this.#sweptMs = this.#clock();
    this.#sweptAtMs = performance.now();
    const { onCut } = this.#options;
    for (const connection of this.#all.values()) {
      if (connection.isFlooding()) {
        this.#endFlood(connection);
        continue;
      }
      for (let cut = connection.cutStalled(); cut > 0; cut--) onCut('stalled', connection.network);
      const reason = connection.overdue();
      if (reason === undefined) continue;
      // It was told to leave a sweep ago.
      if (connection.isDraining) {
        connection.cut();
        continue;
      }
      onCut(reason, connection.network);
      connection.drain();
    }
  }

  /** Stands still while the process does, so that peers are not blamed for its pauses. */
  #clock(): number {
    const elapsedMs = performance.now() - this.#sweptAtMs;
    return this.#sweptMs + Math.min(elapsedMs, 2 * this.#sweepEveryMs);
  }
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
