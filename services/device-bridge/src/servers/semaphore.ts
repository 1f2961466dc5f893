/** Admits a fixed number at once; the others wait in order. */
export class Semaphore {
  readonly #permits: number;
  readonly #waiting: (() => void)[] = [];
  readonly #empty = Promise.withResolvers<void>();
  #admitted = 0;
  #isClosed = false;

  constructor(permits: number) {
    this.#permits = permits;
  }

  /** Calls back synchronously when there is room, so that the common case does not wait. */
  acquire(then: () => void): void {
    if (this.#admitted >= this.#permits && !this.#isClosed) {
      this.#waiting.push(then);
      return;
    }
    this.#admitted += 1;
    then();
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next();
      return;
    }
    this.#admitted -= 1;
    this.#resolveIfEmpty();
  }

  /** Admits everyone, so that they find out it is closed. Resolves when all have left. */
  close(): Promise<void> {
    this.#isClosed = true;
    const waiting = this.#waiting.splice(0);
    this.#admitted += waiting.length;
    for (const then of waiting) then();
    this.#resolveIfEmpty();
    return this.#empty.promise;
  }

  #resolveIfEmpty(): void {
    if (this.#isClosed && this.#admitted === 0) this.#empty.resolve();
  }
}
