import { networkOf } from './network-of.ts';

/** More networks than this within ten seconds are an attack, and the table must stay small. */
const MAX_NETWORKS = 20_000;
/** A home or an office reconnects all at once after a network failure. */
const BURST_SECONDS = 10;

interface Attempts {
  left: number;
  countedAtMs: number;
}

/** Limits how often one address may connect, or one /64 of IPv6, which is what a subscriber has. */
export class AddressGate {
  readonly #perSecond: number;
  /** The one seen longest ago comes first. */
  readonly #attempts = new Map<string, Attempts>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  admit(address: string, nowMs: number): boolean {
    const attempts = this.#attemptsOf(networkOf(address), nowMs);
    const burst = this.#perSecond * BURST_SECONDS;
    const earned = ((nowMs - attempts.countedAtMs) / 1000) * this.#perSecond;
    attempts.left = Math.min(burst, attempts.left + earned);
    attempts.countedAtMs = nowMs;
    if (attempts.left < 1) return false;
    attempts.left -= 1;
    return true;
  }

  /**
   * A full table forgets whoever was seen longest ago. To refuse newcomers instead would let an attacker
   * with many networks, such as an IPv6 /48, lock everybody out.
   */
  #attemptsOf(network: string, nowMs: number): Attempts {
    const known = this.#attempts.get(network);
    if (known !== undefined) {
      this.#attempts.delete(network);
    } else if (this.#attempts.size >= MAX_NETWORKS) {
      for (const oldest of this.#attempts.keys()) {
        this.#attempts.delete(oldest);
        break;
      }
    }
    const attempts = known ?? { left: this.#perSecond * BURST_SECONDS, countedAtMs: nowMs };
    this.#attempts.set(network, attempts);
    return attempts;
  }
}
