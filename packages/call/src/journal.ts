interface EntryKey {
  readonly callId: string;
  readonly digest: Uint8Array;
  /** As the first CALL stated it; the watermark is compared with it. */
  readonly deadlineMs: number;
  /** The name of the host that made the call; empty where it is not known. */
  readonly host: string;
}

export interface DispatchedEntry extends EntryKey {
  /** The payload of CALL, so that a restarted callee knows what it cannot answer for. */
  readonly request: Uint8Array;
}

export interface FinishedEntry extends EntryKey {
  /** The payload of OUTCOME. */
  readonly outcome: Uint8Array;
  readonly result: Uint8Array;
}

export type JournalEntry =
  | (DispatchedEntry & { readonly state: 'dispatched' })
  | (FinishedEntry & { readonly state: 'finished' })
  | (Omit<FinishedEntry, 'result'> & {
      readonly state: 'acknowledged';
      readonly resultBytes: number;
    });

/**
 * What a callee remembers across restarts. Every method returns when the write
 * is done and would survive a crash of the process; a durable one would also
 * survive a crash of the machine. A write that survives implies every earlier
 * one did. A write throws journal.failed when it did nothing and may succeed
 * later, as on a full disk; any other error is fatal.
 */
export interface Journal {
  /** 16 random bytes, made with the journal. */
  readonly id: Uint8Array;
  readonly watermarkMs: number;
  /** The epochs of the last complete(). */
  readonly completeEpochs: readonly number[];
  load(): Iterable<JournalEntry>;
  /** Inserts. */
  dispatched(entry: DispatchedEntry, durable: boolean): void;
  /** Inserts or updates; the request is not needed any more. */
  finished(entry: FinishedEntry, durable: boolean): void;
  /** The result is not needed any more. Losing this write is harmless. */
  acknowledged(callId: string): void;
  /**
   * In one durable step: raises the watermark, never lowering it, and deletes
   * every entry whose deadline is not after it.
   */
  forget(watermarkMs: number): void;
  /** Durable: every call accepted under these epochs is in the journal as it is now. */
  complete(epochs: readonly number[]): void;
}

/** A journal in memory, for tests. */
export class MemoryJournal implements Journal {
  readonly id: Uint8Array;
  readonly #entries = new Map<string, JournalEntry>();
  #watermarkMs = 0;
  #completeEpochs: readonly number[] = [];

  constructor(id: Uint8Array) {
    this.id = id;
  }

  get watermarkMs(): number {
    return this.#watermarkMs;
  }

  get completeEpochs(): readonly number[] {
    return this.#completeEpochs;
  }

  load(): Iterable<JournalEntry> {
    return [...this.#entries.values()];
  }

  dispatched(entry: DispatchedEntry, _durable: boolean): void {
    this.#entries.set(entry.callId, { ...entry, state: 'dispatched' });
  }

  finished(entry: FinishedEntry, _durable: boolean): void {
    this.#entries.set(entry.callId, { ...entry, state: 'finished' });
  }

  acknowledged(callId: string): void {
    const entry = this.#entries.get(callId);
    if (entry?.state !== 'finished') return;
    const { result, ...rest } = entry;
    const resultBytes = result.length;
    this.#entries.set(callId, { ...rest, state: 'acknowledged', resultBytes });
  }

  forget(watermarkMs: number): void {
    this.#watermarkMs = Math.max(this.#watermarkMs, watermarkMs);
    for (const [callId, { deadlineMs }] of this.#entries) {
      if (deadlineMs <= this.#watermarkMs) this.#entries.delete(callId);
    }
  }

  complete(epochs: readonly number[]): void {
    this.#completeEpochs = epochs;
  }
}
