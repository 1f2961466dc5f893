import type { EventLog, TurnEvent } from '../turn/turn-events.ts';

export interface LogEntry {
  readonly sequence: number;
  readonly event: TurnEvent;
  /** Bytes of the log before and after this entry. */
  readonly startBytes: number;
  readonly endBytes: number;
}

/** A live reader of the log. */
export interface LogListener {
  /** Bytes of the log it has taken. */
  readonly takenBytes: number;
  onAppend(): void;
}

export interface TurnLogBounds {
  /** A producer waits while its slowest reader is behind by as much. */
  readonly maxBehindBytes: number;
  /** Kept for readers that come back; older entries are dropped. */
  readonly windowBytes: number;
}

export const TURN_LOG_BOUNDS: TurnLogBounds = {
  // Many seconds of a fast model's output; a reader that lags more has stalled.
  maxBehindBytes: 256 * 1024,
  windowBytes: 1024 * 1024,
};

/** Memory of an entry beside its text, so that tiny deltas are bounded as well. */
const ENTRY_BYTES = 128;

/**
 * The events of one turn. An event is frozen and numbered here before any
 * reader sees it, so every reader sees the same turn; readers are views that
 * may merge deltas. Entries beyond the window are dropped, the oldest first and
 * never before the live readers have taken them.
 */
export class TurnLog implements EventLog {
  readonly sessionId: string;
  readonly turnId: string;
  readonly #bounds: TurnLogBounds;
  readonly #listeners = new Set<LogListener>();
  #entries: LogEntry[] = [];
  /** Index of the oldest entry that is kept. */
  #oldest = 0;
  #lastSequence = 0;
  #endBytes = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(turn: { sessionId: string; turnId: string }, bounds = TURN_LOG_BOUNDS) {
    this.sessionId = turn.sessionId;
    this.turnId = turn.turnId;
    this.#bounds = bounds;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the slowest live reader is too far behind. Without readers it never is. */
  get isFull(): boolean {
    return this.#behindBytes() >= this.#bounds.maxBehindBytes;
  }

  get endBytes(): number {
    return this.#endBytes;
  }

  /** The oldest event that is kept. */
  get firstSequence(): number {
    return this.#entries[this.#oldest]?.sequence ?? this.#lastSequence + 1;
  }

  /** Never refuses, so that a terminal event always fits; producers of bulk await room() first. */
  append(event: TurnEvent): void {
    if (this.#isClosed) return;
    this.#lastSequence += 1;
    const startBytes = this.#endBytes;
    this.#endBytes += ENTRY_BYTES + bytesOf(event);
    this.#entries.push(
      Object.freeze({
        sequence: this.#lastSequence,
        event: frozen(event),
        startBytes,
        endBytes: this.#endBytes,
      }),
    );
    for (const listener of this.#listeners) listener.onAppend();
    this.#drop();
  }

  /** No event follows; readers still get what is kept. */
  close(): void {
    this.#isClosed = true;
    for (const listener of this.#listeners) listener.onAppend();
    this.#wake();
  }

  at(sequence: number): LogEntry | undefined {
    if (sequence < this.firstSequence) return undefined;
    return this.#entries[this.#oldest + sequence - this.firstSequence];
  }

  attach(listener: LogListener): void {
    this.#listeners.add(listener);
  }

  detach(listener: LogListener): void {
    this.#listeners.delete(listener);
    this.taken();
  }

  /** A reader has taken something. */
  taken(): void {
    if (this.#waiting.length > 0) this.#wake();
  }

  /** Resolves when every reader has caught up by half, or on abort. */
  async room(signal: AbortSignal): Promise<void> {
    if (!this.isFull || this.#isClosed || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    this.#waiting.push(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    await promise;
    signal.removeEventListener('abort', onAbort);
  }

  #wake(): void {
    const hasRoom = this.#behindBytes() <= this.#bounds.maxBehindBytes / 2;
    if (!hasRoom && !this.#isClosed) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #behindBytes(): number {
    let behind = 0;
    for (const { takenBytes } of this.#listeners) {
      behind = Math.max(behind, this.#endBytes - takenBytes);
    }
    return behind;
  }

  #drop(): void {
    const keepFrom = this.#endBytes - Math.max(this.#bounds.windowBytes, this.#behindBytes());
    while ((this.#entries[this.#oldest]?.endBytes ?? keepFrom + 1) <= keepFrom) this.#oldest += 1;
    // Cut in bulk, because shifting one at a time costs the whole array each time.
    if (this.#oldest <= this.#entries.length / 2) return;
    this.#entries = this.#entries.slice(this.#oldest);
    this.#oldest = 0;
  }
}

function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null && !ArrayBuffer.isView(part)) frozen(part);
  }
  return Object.freeze(value);
}

function bytesOf({ case: kind, value }: TurnEvent): number {
  switch (kind) {
    case 'assistantDelta':
      return Buffer.byteLength(value.text ?? '');
    case 'toolCallStarted':
      return Buffer.byteLength(value.argumentsJson ?? '');
    case 'toolCallDone':
      return Buffer.byteLength(value.resultJson ?? '') + Buffer.byteLength(value.receiptJson ?? '');
    default:
      return 0;
  }
}
