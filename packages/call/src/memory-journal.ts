import type { DispatchedEntry, FinishedEntry, Journal, JournalEntry } from './journal.ts';

/** A journal that lasts as long as the object; for tests and trials. */
export class MemoryJournal implements Journal {
  readonly id: Uint8Array;
  readonly #entries = new Map<string, JournalEntry>();
  #watermarkMs = 0;

  constructor(id: Uint8Array) {
    this.id = id;
  }

  get watermarkMs(): number {
    return this.#watermarkMs;
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
    const { result: _freed, ...rest } = entry;
    this.#entries.set(callId, { ...rest, state: 'acknowledged' });
  }

  forget(watermarkMs: number): void {
    this.#watermarkMs = Math.max(this.#watermarkMs, watermarkMs);
    for (const [callId, { deadlineMs }] of this.#entries) {
      if (deadlineMs <= this.#watermarkMs) this.#entries.delete(callId);
    }
  }
}
