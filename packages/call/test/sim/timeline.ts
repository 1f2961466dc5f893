/** What clocks show at the beginning: far enough from zero to be set back. */
export const CLOCK_START_MS = 1_000_000_000_000;

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

/** True time, and what happens in it. */
export class Timeline {
  nowMs = 0;
  /** Sorted; what is due at the same time runs in the order in which it was planned. */
  readonly #due: Due[] = [];

  get nextMs(): number {
    return this.#due[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  after(delayMs: number, run: () => void): void {
    const atMs = this.nowMs + delayMs;
    let at = this.#due.length;
    while (at > 0 && (this.#due[at - 1]?.atMs ?? 0) > atMs) at -= 1;
    this.#due.splice(at, 0, { atMs, run });
  }

  runNext(): void {
    this.#due.shift()?.run();
  }
}
