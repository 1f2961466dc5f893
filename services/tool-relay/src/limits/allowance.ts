export interface Rate {
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
}

/** One second's worth may arrive at once. */
const BURST_MS = 1000;

/** Two token buckets, for the frames and the bytes that a peer may send. */
export class Allowance {
  readonly #rate: Rate;
  #frames: number;
  #bytes: number;
  #filledAtMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#frames = rate.framesPerSecond;
    this.#bytes = rate.bytesPerSecond;
    this.#filledAtMs = nowMs;
  }

  /** Returns false, and takes nothing, when either bucket has too little. */
  take(bytes: number, nowMs: number): boolean {
    if (nowMs !== this.#filledAtMs) this.#fill(nowMs);
    if (this.#frames < 1 || this.#bytes < bytes) return false;
    this.#frames -= 1;
    this.#bytes -= bytes;
    return true;
  }

  #fill(nowMs: number): void {
    const share = Math.min(BURST_MS, nowMs - this.#filledAtMs) / BURST_MS;
    const { framesPerSecond, bytesPerSecond } = this.#rate;
    this.#frames = Math.min(framesPerSecond, this.#frames + share * framesPerSecond);
    this.#bytes = Math.min(bytesPerSecond, this.#bytes + share * bytesPerSecond);
    this.#filledAtMs = nowMs;
  }
}
