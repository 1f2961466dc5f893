import { networkOf } from './network-of.ts';

/** More addresses than this within ten seconds are an attack, and the table must stay small. */
const MAX_ADDRESSES = 20_000;
/** A home or an office reconnects all at once after a network failure. */
const BURST_SECONDS = 10;

interface Attempts {
  left: number;
  countedAtMs: number;
}

/** Limits how often one address may connect, or one /64 of IPv6, which is what a subscriber has. */
export class AddressGate {
  readonly #perSecond: number;
  readonly #attempts = new Map<string, Attempts>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  admit(from: string, nowMs: number): boolean {
    const address = networkOf(from);
    const burst = this.#perSecond * BURST_SECONDS;
    let attempts = this.#attempts.get(address);
    if (attempts === undefined) {
      if (this.#attempts.size >= MAX_ADDRESSES) this.#forgetIdle(nowMs);
      if (this.#attempts.size >= MAX_ADDRESSES) return false;
      attempts = { left: burst, countedAtMs: nowMs };
      this.#attempts.set(address, attempts);
    }
    const earned = ((nowMs - attempts.countedAtMs) / 1000) * this.#perSecond;
    attempts.left = Math.min(burst, attempts.left + earned);
    attempts.countedAtMs = nowMs;
    if (attempts.left < 1) return false;
    attempts.left -= 1;
    return true;
  }

  /** An address with all its attempts back is the same as one never seen. */
  #forgetIdle(nowMs: number): void {
    for (const [address, { countedAtMs }] of this.#attempts) {
      if (nowMs - countedAtMs >= BURST_SECONDS * 1000) this.#attempts.delete(address);
    }
  }
}
