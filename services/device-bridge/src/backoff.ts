import { ExponentialBackoff } from 'cockatiel';

export interface BackoffRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Exponential with decorrelated jitter, so that devices that failed together do not return together. */
export class Backoff {
  readonly #factory: ExponentialBackoff<unknown>;
  #step: ReturnType<ExponentialBackoff<unknown>['next']>;

  constructor({ minMs, maxMs }: BackoffRange) {
    this.#factory = new ExponentialBackoff({ initialDelay: minMs, maxDelay: maxMs });
    this.#step = this.#factory.next();
  }

  nextMs(): number {
    const { duration } = this.#step;
    this.#step = this.#step.next(undefined);
    return Math.ceil(duration);
  }

  reset(): void {
    this.#step = this.#factory.next();
  }
}
