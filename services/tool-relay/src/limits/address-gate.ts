/** More addresses than this in ten seconds is an attack; what is remembered stays small. */
const MAX_ADDRESSES = 20_000;
/** A home or an office reconnects all at once after its network was away. */
const BURST_SECONDS = 10;

interface Attempts {
  left: number;
  countedAtMs: number;
}

/** How often one address may connect. */
export class AddressGate {
  readonly #perSecond: number;
  readonly #attempts = new Map<string, Attempts>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  admit(address: string, nowMs: number): boolean {
    const burst = this.#perSecond * BURST_SECONDS;
    let attempts = this.#attempts.get(address);
    if (attempts === undefined) {
      if (this.#attempts.size >= MAX_ADDRESSES) this.#forgetRested(nowMs);
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

  /** An address that has all its attempts back is like one never seen. */
  #forgetRested(nowMs: number): void {
    for (const [address, { countedAtMs }] of this.#attempts) {
      if (nowMs - countedAtMs >= BURST_SECONDS * 1000) this.#attempts.delete(address);
    }
  }
}
