export interface FirstToken {
  readonly seconds: number;
  /** What is left when the waits for the provider and for tools are taken off. */
  readonly addedSeconds: number;
}

/** What a turn's own time was spent on. */
export class TurnClock {
  readonly #startedMs = performance.now();
  #firstTextUs: number | undefined;
  /** For model calls and tools that came before the first text. */
  #waitedMs = 0;

  get firstTextUs(): number {
    return this.#firstTextUs ?? 0;
  }

  get totalUs(): number {
    return this.#sinceStartUs();
  }

  async waited<T>(work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const result = await work();
    this.#waitedMs += performance.now() - startedMs;
    return result;
  }

  /** Undefined but for the first text of the turn. */
  firstText(providerWaitMs: number): FirstToken | undefined {
    if (this.#firstTextUs !== undefined) return undefined;
    this.#firstTextUs = this.#sinceStartUs();
    const seconds = this.#firstTextUs / 1e6;
    const addedSeconds = Math.max(0, seconds - (this.#waitedMs + providerWaitMs) / 1000);
    return { seconds, addedSeconds };
  }

  #sinceStartUs(): number {
    return Math.round((performance.now() - this.#startedMs) * 1000);
  }
}
