/** At most so many at once; the others wait in order. */
export class Slots {
  readonly #count: number;
  readonly #waiting: (() => void)[] = [];
  readonly #empty = Promise.withResolvers<void>();
  #taken = 0;
  #isClosed = false;

  constructor(count: number) {
    this.#count = count;
  }

  /** Calls back at once when there is a slot, so that the common case waits for nothing. */
  acquire(then: () => void): void {
    if (this.#taken >= this.#count && !this.#isClosed) {
      this.#waiting.push(then);
      return;
    }
    this.#taken += 1;
    then();
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next();
      return;
    }
    this.#taken -= 1;
    this.#tellEmpty();
  }

  /** Nothing more is done here: lets in who waits or comes, to find that out. Resolves when all have left. */
  close(): Promise<void> {
    this.#isClosed = true;
    const waiting = this.#waiting.splice(0);
    this.#taken += waiting.length;
    for (const then of waiting) then();
    this.#tellEmpty();
    return this.#empty.promise;
  }

  #tellEmpty(): void {
    if (this.#isClosed && this.#taken === 0) this.#empty.resolve();
  }
}
