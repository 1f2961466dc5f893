import { ExponentialBackoff } from 'cockatiel';
import type { RelayLimits } from './limits.ts';

/** Exponential with decorrelated jitter, so that hosts that lost one relay do not return at once. */
export class Backoff {
  readonly #delays: ExponentialBackoff<unknown>;
  #next: ReturnType<ExponentialBackoff<unknown>['next']>;

  constructor({ retryStartMs, retryCapMs }: Pick<RelayLimits, 'retryStartMs' | 'retryCapMs'>) {
    this.#delays = new ExponentialBackoff({ initialDelay: retryStartMs, maxDelay: retryCapMs });
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
