import { ZlError } from '@zerolatency/errors';
import {
  type DispatchedEntry,
  type FinishedEntry,
  type Journal,
  type JournalEntry,
  MemoryJournal,
} from '../../src/index.ts';

type Written = (what: 'dispatched' | 'finished' | 'forgot') => void;
type Write = (journal: MemoryJournal) => void;

/** A journal on a disk: a crash of the machine loses what was not durable, and a rollback also what was. */
export class DiskJournal implements Journal {
  readonly id: Uint8Array;
  readonly #afterWrite: Written;
  #live: MemoryJournal;
  #writes: Write[] = [];
  /** How many of the writes are durable. */
  #durable = 0;
  isFull = false;

  constructor(id: Uint8Array, afterWrite: Written) {
    this.id = id;
    this.#afterWrite = afterWrite;
    this.#live = new MemoryJournal(id);
  }

  get watermarkMs(): number {
    return this.#live.watermarkMs;
  }

  get completeEpochs(): readonly number[] {
    return this.#live.completeEpochs;
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

  complete(epochs: readonly number[]): void {
    this.#write((journal) => journal.complete(epochs), true);
  }

  /** Loses what was not durable, but the first `kept` of those writes. */
  crashMachine(kept: number): void {
    this.#cutTo(this.#durable + kept);
  }

  /** Loses the last `lost` durable writes too: a log that was cut, or a snapshot that was restored. */
  rollBack(lost: number): void {
    this.#cutTo(Math.max(0, this.#durable - lost));
  }

  #cutTo(length: number): void {
    this.#writes = this.#writes.slice(0, length);
    this.#durable = this.#writes.length;
    this.#live = new MemoryJournal(this.id);
    for (const write of this.#writes) write(this.#live);
  }

  #write(write: Write, durable: boolean): void {
    if (this.isFull) throw new ZlError('journal.failed', 'the disk is full');
    write(this.#live);
    this.#writes.push(write);
    if (durable) this.#durable = this.#writes.length;
  }
}
