const MINUTE_MS = 60_000;

interface Kind {
  readonly sinceMs: number;
  lines: number;
  unlogged: number;
}

/** Bounds the lines about events that strangers cause: an attack must not fill the log as well. */
export class LogThrottle {
  readonly #linesPerMinute: number;
  readonly #kinds = new Map<string, Kind>();

  constructor(linesPerMinute: number) {
    this.#linesPerMinute = linesPerMinute;
  }

  /**
   * Undefined when this event gets no line, and otherwise how many of its kind got none before it.
   * Kinds are kept for ever, so they come from a closed set.
   */
  take(kind: string, nowMs: number): number | undefined {
    const last = this.#kinds.get(kind);
    const isCurrent = last !== undefined && nowMs - last.sinceMs < MINUTE_MS;
    const current = isCurrent ? last : { sinceMs: nowMs, lines: 0, unlogged: last?.unlogged ?? 0 };
    this.#kinds.set(kind, current);
    if (current.lines >= this.#linesPerMinute) {
      current.unlogged += 1;
      return undefined;
    }
    const { unlogged } = current;
    current.lines += 1;
    current.unlogged = 0;
    return unlogged;
  }
}
