import type { Ending } from './ending.ts';

/** A server that starts is told at once; reading a large catalog costs milliseconds of every call's time. */
const MIN_GAP_MS = 250;

export interface CatalogChangesOptions {
  /** Gives why the session must end, if it must. */
  readonly apply: (payload: Uint8Array) => Ending | undefined;
  /** For a catalog that had to wait. */
  readonly onEnding: (ending: Ending) => void;
}

/** Lets a device change its catalog as often as it likes, and has only the newest read now and then. */
export class CatalogChanges {
  readonly #options: CatalogChangesOptions;
  #waiting: Uint8Array | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CatalogChangesOptions) {
    this.#options = options;
  }

  receive(payload: Uint8Array): Ending | undefined {
    if (this.#timer !== undefined) {
      this.#waiting = Uint8Array.from(payload);
      return undefined;
    }
    this.#timer = setTimeout(() => this.#next(), MIN_GAP_MS);
    return this.#options.apply(payload);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting = undefined;
  }

  #next(): void {
    const waiting = this.#waiting;
    this.#timer = undefined;
    this.#waiting = undefined;
    if (waiting === undefined) return;
    const ending = this.receive(waiting);
    if (ending !== undefined) this.#options.onEnding(ending);
  }
}
