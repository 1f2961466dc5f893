import { AddressGate, networkOf } from '@zerolatency/service/network';
import type { Arrival, ArrivalEnd, Balancers } from './socket-engine.ts';

/** Networks from which a peer has proved itself. About 1 MiB. */
const MAX_PROVED_NETWORKS = 10_000;
/** The share of the room that is kept for them. */
const PROVED_SHARE = 0.25;

export type Unadmitted = ArrivalEnd | 'rate' | 'proxy';

export interface ArrivalsOptions {
  /** Unproved peers at the same time. */
  readonly max: number;
  /** From the connection to the proof. */
  readonly proveWithinMs: number;
  readonly connectsPerAddress: number;
  readonly balancers: Pick<Balancers, 'kind' | 'trusts'>;
  readonly monotonicMs: () => number;
  readonly onUnadmitted: (why: Unadmitted) => void;
}

/**
 * The peers that have not proved who they are. When all places are taken, the oldest is closed: an
 * honest peer proves itself within a round trip or two, and an attacker waits.
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
    const { max, proveWithinMs, balancers, onUnadmitted } = this.#options;
    const isBalancer = balancers.kind !== 'none' && balancers.trusts(address);
    if (balancers.kind === 'v2' && !isBalancer) {
      onUnadmitted('proxy');
      return undefined;
    }
    // Everybody behind a balancer has its address, so only the room for all bounds it.
    if (!isBalancer && !this.#admits(address)) return undefined;
    const network = isBalancer ? undefined : networkOf(address);
    const isReturning = this.#isReturning(network);
    if (!isReturning && this.#strangers.size >= max - this.#maxReturning) this.#evictOldest();
    const peer = new UnprovedPeer(cut, network, {
      onEnd: onUnadmitted,
      onLeft: () => this.#strangers.delete(peer) || this.#returning.delete(peer),
      onProved: (from) => this.#remember(from),
      onNamed: (from) => this.#name(peer, from),
    });
    (isReturning ? this.#returning : this.#strangers).add(peer);
    peer.proveWithin(proveWithinMs);
    return peer;
  }

  #admits(address: string): boolean {
    const { monotonicMs, onUnadmitted } = this.#options;
    const isAdmitted = this.#addresses.admit(address, monotonicMs());
    if (!isAdmitted) onUnadmitted('rate');
    return isAdmitted;
  }

  #isReturning(network: string | undefined): boolean {
    const isKnown = network !== undefined && this.#provedNetworks.has(network);
    return isKnown && this.#returning.size < this.#maxReturning;
  }

  #name(peer: UnprovedPeer, address: string | undefined): boolean {
    if (address === undefined) {
      this.#options.onUnadmitted('proxy');
      return false;
    }
    if (!this.#strangers.has(peer) || !this.#admits(address)) return false;
    peer.network = networkOf(address);
    if (this.#isReturning(peer.network)) {
      this.#strangers.delete(peer);
      this.#returning.add(peer);
    }
    return true;
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
  onProved(network: string): void;
  onNamed(address: string | undefined): boolean;
}

class UnprovedPeer implements Arrival {
  endSocket: (why: ArrivalEnd) => boolean = () => false;
  /** Undefined while only a balancer knows it. */
  network: string | undefined;
  readonly #cut: () => void;
  readonly #observer: PeerObserver;
  #timer: NodeJS.Timeout | undefined;

  constructor(cut: () => void, network: string | undefined, observer: PeerObserver) {
    this.#cut = cut;
    this.network = network;
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
    if (this.network !== undefined) this.#observer.onProved(this.network);
  }

  named(address: string | undefined): boolean {
    return this.#observer.onNamed(address);
  }

  gone(): void {
    clearTimeout(this.#timer);
    this.#observer.onLeft();
  }
}
