import {
  type DispatchedEntry,
  type FinishedEntry,
  type Journal,
  type JournalEntry,
  MemoryJournal,
} from '../../src/index.ts';

type Written = (what: 'dispatched' | 'finished' | 'forgot') => void;
type Write = (journal: MemoryJournal) => void;

/** A journal on a disk: what was not made durable may be lost when the machine crashes. */
export class DiskJournal implements Journal {
  readonly id: Uint8Array;
  readonly #afterWrite: Written;
  #durable: MemoryJournal;
  #live: MemoryJournal;
  #pending: Write[] = [];

  constructor(id: Uint8Array, afterWrite: Written) {
    this.id = id;
    this.#afterWrite = afterWrite;
    this.#durable = new MemoryJournal(id);
    this.#live = new MemoryJournal(id);
  }

  get watermarkMs(): number {
    return this.#live.watermarkMs;
  }

  load(): Iterable<JournalEntry> {
    return this.#live.load();
  }

  dispatched(entry: DispatchedEntry, durable: boolean): void {
    this.#write((journal) => journal.dispatched(entry, durable), durable);
    this.#afterWrite('dispatched');
  }

  finished(entry: FinishedEntry, durable: boolean): void {
    this.#write((journal) => journal.finished(entry, durable), durable);
    this.#afterWrite('finished');
  }

  acknowledged(callId: string): void {
    this.#write((journal) => journal.acknowledged(callId), false);
  }

  forget(watermarkMs: number): void {
    this.#write((journal) => journal.forget(watermarkMs), true);
    this.#afterWrite('forgot');
  }

  /** Loses what was not durable, but the first `kept` of those writes. */
  crashMachine(kept: number): void {
    for (const write of this.#pending.slice(0, kept)) write(this.#durable);
    this.#pending = [];
    this.#live = new MemoryJournal(this.id);
    this.#live.forget(this.#durable.watermarkMs);
    for (const entry of this.#durable.load()) copyInto(this.#live, entry);
  }

  #write(write: Write, durable: boolean): void {
    write(this.#live);
    this.#pending.push(write);
    if (!durable) return;
    for (const pending of this.#pending) pending(this.#durable);
    this.#pending = [];
  }
}

function copyInto(journal: MemoryJournal, entry: JournalEntry): void {
  if (entry.state === 'dispatched') {
    journal.dispatched(entry, true);
  } else if (entry.state === 'finished') {
    journal.finished(entry, true);
  } else {
    journal.finished({ ...entry, result: new Uint8Array(entry.resultBytes) }, true);
    journal.acknowledged(entry.callId);
  }
}
