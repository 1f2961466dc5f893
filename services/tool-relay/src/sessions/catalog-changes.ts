import { Allowance } from '../limits/allowance.ts';
import type { Clock } from '../ports.ts';
import type { Ending } from './ending.ts';

/** Reading a large catalog costs milliseconds of every call's time; the servers of a bridge start one by one. */
const READ_PER_SECOND = 16;
const RETRY_MS = 100;

export interface CatalogChangesOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Gives why the session must end, if it must. */
  readonly apply: (payload: Uint8Array) => Ending | undefined;
  /** For a catalog that had to wait. */
  readonly onEnding: (ending: Ending) => void;
}

/** Lets a device change its catalog as often as it likes; of a flood, only the newest is read now and then. */
export class CatalogChanges {
  readonly #options: CatalogChangesOptions;
  readonly #allowance: Allowance;
  #waiting: Uint8Array | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CatalogChangesOptions) {
    this.#options = options;
    // Bytes are counted with those of all other frames.
    const rate = { framesPerSecond: READ_PER_SECOND, bytesPerSecond: 0 };
    this.#allowance = new Allowance(rate, options.clock.monotonicMs());
  }

  receive(payload: Uint8Array): Ending | undefined {
    const { clock, apply } = this.#options;
    if (this.#timer === undefined && this.#allowance.take(0, clock.monotonicMs())) {
      return apply(payload);
    }
    this.#waiting = Uint8Array.from(payload);
    this.#timer ??= setTimeout(() => this.#next(), RETRY_MS);
    return undefined;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting = undefined;
  }

  #next(): void {
    const waiting = this.#waiting;
    this.#timer = undefined;
    this.#waiting = undefined;
    const ending = waiting && this.receive(waiting);
    if (ending !== undefined) this.#options.onEnding(ending);
  }
}
