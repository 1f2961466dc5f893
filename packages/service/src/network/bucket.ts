export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/** A token bucket: a burst, then so many a second. */
export class Bucket {
  readonly #rate: Rate;
  #left: number;
  #filledMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#left = rate.burst;
    this.#filledMs = nowMs;
  }

  isEmpty(nowMs: number): boolean {
    const { burst, perSecond } = this.#rate;
    this.#left = Math.min(burst, this.#left + ((nowMs - this.#filledMs) / 1000) * perSecond);
    this.#filledMs = nowMs;
    return this.#left < 1;
  }

  /** Returns false, and takes nothing, when less than that is left. */
  take(nowMs: number, amount = 1): boolean {
    if (this.isEmpty(nowMs) || this.#left < amount) return false;
    this.#left -= amount;
    return true;
  }

  /** For what has happened already: the debt, a burst at most, delays when it is full again. */
  owe(nowMs: number): void {
    this.#left = this.isEmpty(nowMs) ? Math.max(this.#left - 1, -this.#rate.burst) : this.#left - 1;
  }
}
