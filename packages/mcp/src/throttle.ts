/** Passes on the first value at once and then at most one each interval, always the latest. */
export class Throttle<T> {
  readonly #emit: (value: T) => void;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #pending: { readonly value: T } | undefined;

  constructor(emit: (value: T) => void, intervalMs: number) {
    this.#emit = emit;
    this.#intervalMs = intervalMs;
  }

  push(value: T): void {
    this.#pending = { value };
    if (this.#timer === undefined) this.flush();
  }

  /** Drops what is pending. A later push starts anew. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending = undefined;
  }

  /** Passes on what is pending without waiting for the interval. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending === undefined) return;
    const { value } = this.#pending;
    this.#pending = undefined;
    this.#timer = setTimeout(() => this.flush(), this.#intervalMs);
    this.#emit(value);
  }
}
