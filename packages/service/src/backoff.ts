import { ExponentialBackoff, noJitterGenerator } from 'cockatiel';

export interface BackoffRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Doubles from minMs to maxMs, and waits between half of that and all of it: peers that
 * failed together do not return together, also after they have reached maxMs.
 */
export class Backoff {
  readonly #random: () => number;
  readonly #delays: ExponentialBackoff<number>;
  #next: ReturnType<ExponentialBackoff<number>['next']>;

  constructor({ minMs, maxMs }: BackoffRange, random: () => number = Math.random) {
    this.#random = random;
    this.#delays = new ExponentialBackoff({
      generator: noJitterGenerator,
      initialDelay: minMs,
      maxDelay: maxMs,
    });
    this.#next = this.#delays.next();
  }

  nextMs(): number {
    const { duration } = this.#next;
    this.#next = this.#next.next(undefined);
    return Math.ceil((duration * (1 + this.#random())) / 2);
  }

  reset(): void {
    this.#next = this.#delays.next();
  }
}
