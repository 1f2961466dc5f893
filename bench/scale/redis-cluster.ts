const WINDOW_MS = 1000;

/** Masters that each execute one operation after another. */
export class RedisCluster {
  readonly #freeAtMs: Float64Array;
  readonly #busyMs: Float64Array;
  /** Every operation is refused until then. */
  awayUntilMs = 0;
  operations = 0;
  peakOperations = 0;
  peakBusy = 0;
  longestWaitMs = 0;

  constructor(masters: number) {
    this.#freeAtMs = new Float64Array(masters);
    this.#busyMs = new Float64Array(masters);
  }

  /** Keys carry their tenant as hash tag, so a tenant lives on one master. */
  masterOf(tenant: number): number {
    return tenant % this.#freeAtMs.length;
  }

  get masters(): number {
    return this.#freeAtMs.length;
  }

  isAway(nowMs: number): boolean {
    return nowMs < this.awayUntilMs;
  }

  /** Returns when the last of them is done. */
  run(master: number, { count, us }: { count: number; us: number }, nowMs: number): number {
    const startMs = Math.max(nowMs, this.#freeAtMs[master] ?? 0);
    const workMs = (count * us) / 1000;
    this.#freeAtMs[master] = startMs + workMs;
    this.#busyMs[master] = (this.#busyMs[master] ?? 0) + workMs;
    this.operations += count;
    this.longestWaitMs = Math.max(this.longestWaitMs, startMs - nowMs);
    return startMs + workMs;
  }

  /** Ends a second; returns its operations. */
  endWindow(): number {
    const { operations } = this;
    this.peakOperations = Math.max(this.peakOperations, operations);
    for (const [master, busyMs] of this.#busyMs.entries()) {
      this.peakBusy = Math.max(this.peakBusy, Math.min(1, busyMs / WINDOW_MS));
      // A master works off in the next second what it did not finish in this one.
      this.#busyMs[master] = Math.max(0, busyMs - WINDOW_MS);
    }
    this.operations = 0;
    return operations;
  }
}
