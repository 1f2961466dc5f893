interface SilenceLimits {
  readonly probeMs: number;
  readonly maxProbeMs: number;
}

/** When to ask a silent peer again: later after each silence, so that a slow tool is not pestered. */
export class SilenceTimer {
  readonly #limits: SilenceLimits;
  #delayMs: number;
  #dueMs = Number.POSITIVE_INFINITY;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(limits: SilenceLimits) {
    this.#limits = limits;
    this.#delayMs = limits.probeMs;
  }

  get dueMs(): number {
    return this.#dueMs;
  }

  /** The peer spoke, or was spoken to for the first time. */
  restart(nowMs: number): void {
    this.#delayMs = this.#limits.probeMs;
    this.#dueMs = nowMs + this.#delayMs;
  }

  /** The peer was asked again. */
  asked(nowMs: number): void {
    this.#delayMs = Math.min(this.#delayMs * 2, this.#limits.maxProbeMs);
    this.#dueMs = nowMs + this.#delayMs;
  }

  stop(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  isDue(nowMs: number): boolean {
    // A clock that was set back must not make the silence longer.
    if (nowMs < this.#lastMs) this.#dueMs -= this.#lastMs - nowMs;
    this.#lastMs = nowMs;
    return nowMs >= this.#dueMs;
  }
}
