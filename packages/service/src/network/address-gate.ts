import { Bucket, type Rate } from './bucket.ts';
import { networkOf } from './network-of.ts';

/** More networks than this within ten seconds are an attack, and the table must stay small. */
const MAX_NETWORKS = 20_000;
/** A home or an office reconnects all at once after a network failure. */
const BURST_SECONDS = 10;

/** Limits how often one address may connect, or one /64 of IPv6, which is what a subscriber has. */
export class AddressGate {
  readonly #rate: Rate;
  /** The one seen longest ago comes first. */
  readonly #attempts = new Map<string, Bucket>();

  constructor(perSecond: number) {
    this.#rate = { burst: perSecond * BURST_SECONDS, perSecond };
  }

  admit(address: string, nowMs: number): boolean {
    return this.#attemptsOf(networkOf(address), nowMs).take(nowMs);
  }

  /**
   * A full table forgets whoever was seen longest ago. To refuse newcomers instead would let an attacker
   * with many networks, such as an IPv6 /48, lock everybody out.
   */
  #attemptsOf(network: string, nowMs: number): Bucket {
    const known = this.#attempts.get(network);
    if (known !== undefined) {
      this.#attempts.delete(network);
    } else if (this.#attempts.size >= MAX_NETWORKS) {
      for (const oldest of this.#attempts.keys()) {
        this.#attempts.delete(oldest);
        break;
      }
    }
    const attempts = known ?? new Bucket(this.#rate, nowMs);
    this.#attempts.set(network, attempts);
    return attempts;
  }
}
