import { AddressGate, networkOf } from '@zerolatency/service/network';
import type { Arrival, ArrivalEnd } from './socket-engine.ts';

/** Networks from which a peer has proved itself. About 1 MiB. */
const MAX_PROVED_NETWORKS = 10_000;
/** The share of the room that is kept for them. */
const PROVED_SHARE = 0.25;

export type Unadmitted = ArrivalEnd | 'rate';

export interface ArrivalsOptions {
  /** Unproved peers at the same time. */
  readonly max: number;
  /** From the connection to the proof. */
  readonly proveWithinMs: number;
  readonly connectsPerAddress: number;
  readonly monotonicMs: () => number;
  readonly onUnadmitted: (why: Unadmitted) => void;
}

/**
 * The peers that have not proved who they are. Where there is no room for another the oldest has to
 * go: an honest peer proves itself within a round trip or two, and an attacker waits.
 */
export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #addresses: AddressGate;
  /** Oldest first, as are the networks. */
  readonly #strangers = new Set<UnprovedPeer>();
  readonly #returning = new Set<UnprovedPeer>();
  readonly #provedNetworks = new Set<string>();
  readonly #maxReturning: number;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
    this.#addresses = new AddressGate(options.connectsPerAddress);
    this.#maxReturning = Math.floor(options.max * PROVED_SHARE);
  }

  get size(): number {
    return this.#strangers.size + this.#returning.size;
  }

  arrive(address: string, cut: () => void): Arrival | undefined {
    const { max, proveWithinMs, monotonicMs, onUnadmitted } = this.#options;
    const network = networkOf(address);
    if (!this.#addresses.admit(address, monotonicMs())) {
      onUnadmitted('rate');
      return undefined;
    }
    const isReturning =
      this.#provedNetworks.has(network) && this.#returning.size < this.#maxReturning;
    const among = isReturning ? this.#returning : this.#strangers;
    if (!isReturning && among.size >= max - this.#maxReturning) this.#evictOldest();
    const peer = new UnprovedPeer(cut, {
      onEnd: onUnadmitted,
      onLeft: () => among.delete(peer),
      onProved: () => this.#remember(network),
    });
    among.add(peer);
    peer.proveWithin(proveWithinMs);
    return peer;
  }

  #evictOldest(): void {
    for (const oldest of this.#strangers) {
      oldest.end('evicted');
      return;
    }
  }

  #remember(network: string): void {
    this.#provedNetworks.delete(network);
    this.#provedNetworks.add(network);
    if (this.#provedNetworks.size <= MAX_PROVED_NETWORKS) return;
    for (const oldest of this.#provedNetworks) {
      this.#provedNetworks.delete(oldest);
      return;
    }
  }
}

interface PeerObserver {
  onEnd(why: ArrivalEnd): void;
  onLeft(): void;
  onProved(): void;
}

class UnprovedPeer implements Arrival {
  endSocket: (why: ArrivalEnd) => boolean = () => false;
  readonly #cut: () => void;
  readonly #observer: PeerObserver;
  #timer: NodeJS.Timeout | undefined;

  constructor(cut: () => void, observer: PeerObserver) {
    this.#cut = cut;
    this.#observer = observer;
  }

  proveWithin(ms: number): void {
    this.#timer = setTimeout(() => this.end('late'), ms);
  }

  end(why: ArrivalEnd): void {
    this.gone();
    this.#observer.onEnd(why);
    if (!this.endSocket(why)) this.#cut();
  }

  proved(): void {
    this.gone();
    this.#observer.onProved();
  }

  gone(): void {
    clearTimeout(this.#timer);
    this.#observer.onLeft();
  }
}
