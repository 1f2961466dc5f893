export interface FakeTimer {
  dueMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/** Time that passes only when a test advances it. */
export class FakeClock {
  #nowMs: number;
  #order = 0;
  readonly #timers = new Set<FakeTimer>();

  constructor(startMs: number = Date.UTC(2030, 0, 1)) {
    this.#nowMs = startMs;
  }

  readonly nowMs = (): number => this.#nowMs;

  readonly setTimeout = (fn: () => void, delayMs: number): FakeTimer => {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fn };
    this.#timers.add(timer);
    return timer;
  };

  readonly clearTimeout = (timer: FakeTimer | undefined): void => {
    if (timer !== undefined) this.#timers.delete(timer);
  };

  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Fires due timers in order of their times, including those set on the way. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let timer = this.#next(untilMs); timer !== undefined; timer = this.#next(untilMs)) {
      this.#timers.delete(timer);
      this.#nowMs = timer.dueMs;
      timer.fn();
    }
    this.#nowMs = untilMs;
  }

  /** Sets the wall clock alone; no timer is affected. */
  step(ms: number): void {
    this.#nowMs += ms;
    for (const timer of this.#timers) timer.dueMs += ms;
  }

  #next(untilMs: number): FakeTimer | undefined {
    let first: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= untilMs && (first === undefined || isBefore(timer, first))) first = timer;
    }
    return first;
  }
}

function isBefore(a: FakeTimer, b: FakeTimer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
