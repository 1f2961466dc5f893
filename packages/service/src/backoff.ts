import { ExponentialBackoff } from 'cockatiel';

export interface BackoffRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Exponential with decorrelated jitter, so that peers that failed together do not return together. */
export class Backoff {
  readonly #delays: ExponentialBackoff<unknown>;
  #next: ReturnType<ExponentialBackoff<unknown>['next']>;

  constructor({ minMs, maxMs }: BackoffRange) {
    this.#delays = new ExponentialBackoff({ initialDelay: minMs, maxDelay: maxMs });
    this.#next = this.#delays.next();
  }

  nextMs(): number {
    const { duration } = this.#next;
    this.#next = this.#next.next(undefined);
    return Math.ceil(duration);
  }

  reset(): void {
    this.#next = this.#delays.next();
  }
}
