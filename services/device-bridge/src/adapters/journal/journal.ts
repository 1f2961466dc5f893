import type { DispatchedEntry, FinishedEntry, Journal, JournalEntry } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { isOutOfRoom, type LogRecord, type RecordLog, replaced } from './log.ts';
import type { KeptFile, ResultFiles } from './result-files.ts';

export interface JournalObserver {
  wrote(durable: boolean, seconds: number): void;
  /** A write found no room. It did nothing, and the next one may succeed. */
  failed(error: ZlError): void;
}

/** A result above this size has a file of its own. */
export const MAX_INLINE_BYTES = 64 * 1024;
/** A write takes the acknowledgements before it along; so many do not wait for one. */
const MAX_ACKNOWLEDGED = 64;
/** While calls run, the log is rewritten once it has grown by this, and by as much as it keeps. */
const MAX_APPENDED_BYTES = 64 * 1024 * 1024;
/** In a pause, the log is rewritten once it has grown by this. */
const MIN_APPENDED_BYTES = 256 * 1024;

/** A result in a file, and the request, by which a call is unknown should the file be lost. */
export interface FiledResult {
  readonly file: KeptFile;
  readonly request: Uint8Array | undefined;
}

/** What a journal says. Its records are made and read here, in this order. */
export class JournalState {
  readonly id: Uint8Array;
  watermarkMs = 0;
  completeEpochs: readonly number[] = [];
  readonly marks = new Set<string>();
  readonly entries = new Map<string, JournalEntry>();
  readonly filed = new Map<string, FiledResult>();
  /** The size of all results that are not acknowledged. */
  resultBytes = 0;

  constructor(id: Uint8Array) {
    this.id = id;
  }

  dispatched(entry: DispatchedEntry): void {
    this.#put({ ...entry, state: 'dispatched' });
  }

  finished(entry: FinishedEntry, filed: FiledResult | undefined): void {
    this.#put({ ...entry, state: 'finished' });
    if (filed !== undefined) this.filed.set(entry.callId, filed);
  }

  acknowledged(callId: string): void {
    const entry = this.entries.get(callId);
    if (entry?.state !== 'finished') return;
    const { result, ...rest } = entry;
    this.#put({ ...rest, state: 'acknowledged', resultBytes: result.length });
  }

  /** Takes the result that a finished call has in a file. Without it, nobody can say how the call ended. */
  giveResult(callId: string, result: Uint8Array | undefined): void {
    const [entry, filed] = [this.entries.get(callId), this.filed.get(callId)];
    if (entry?.state !== 'finished' || filed === undefined) return;
    const { outcome, ...key } = entry;
    if (result !== undefined) {
      this.finished({ ...key, outcome, result }, filed);
    } else if (filed.request !== undefined) {
      this.dispatched({ ...key, request: filed.request });
    } else {
      throw new ZlError('journal.corrupt', `the result of call ${callId} is lost`);
    }
  }

  restore(entry: JournalEntry): void {
    this.#put(entry);
  }

  /** Returns the calls whose results were in files. */
  forget(watermarkMs: number): string[] {
    this.watermarkMs = Math.max(watermarkMs, this.watermarkMs);
    const removed: string[] = [];
    for (const [callId, { deadlineMs }] of this.entries) {
      if (deadlineMs > this.watermarkMs) continue;
      if (this.filed.has(callId)) removed.push(callId);
      this.#take(callId);
      this.entries.delete(callId);
    }
    return removed;
  }

  *records(): Iterable<LogRecord> {
    const { watermarkMs, completeEpochs: epochs } = this;
    const id = hex(this.id);
    yield { head: { op: 'journal', version: 1, id, watermarkMs, epochs, marks: [...this.marks] } };
    for (const entry of this.entries.values()) {
      yield recordOf(entry, this.filed.get(entry.callId));
    }
  }

  #put(entry: JournalEntry): void {
    this.#take(entry.callId);
    this.entries.set(entry.callId, entry);
    if (entry.state === 'finished') this.resultBytes += entry.result.length;
  }

  #take(callId: string): void {
    const entry = this.entries.get(callId);
    if (entry?.state === 'finished') this.resultBytes -= entry.result.length;
    this.filed.delete(callId);
  }
}

function recordOf(entry: JournalEntry, filed?: Partial<FiledResult>): LogRecord {
  const { callId, deadlineMs, host, state } = entry;
  const head = { op: state, callId, digest: hex(entry.digest), deadlineMs, host };
  switch (state) {
    case 'dispatched':
      return { head, parts: [entry.request] };
    case 'acknowledged':
      return { head: { ...head, resultBytes: entry.resultBytes }, parts: [entry.outcome] };
    case 'finished': {
      const { outcome, result } = entry;
      const { file, request } = filed ?? {};
      const finished = { ...head, outcomeBytes: outcome.length };
      if (file === undefined) return { head: finished, parts: [outcome, result] };
      return { head: { ...finished, file }, parts: request ? [outcome, request] : [outcome] };
    }
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

interface JournalParts {
  readonly state: JournalState;
  readonly log: RecordLog;
  readonly results: ResultFiles;
  readonly observer: JournalObserver;
  /** Lets another process open the journal. */
  readonly release: () => void;
}

/** The journal of calls in an append-only file: one write for each step of a call. */
export class FileJournal implements Journal {
  readonly #state: JournalState;
  readonly #log: RecordLog;
  readonly #results: ResultFiles;
  readonly #observer: JournalObserver;
  readonly #release: () => void;
  /** Written along with the next record. */
  #acknowledged: string[] = [];
  #failure: ZlError | undefined;
  /** The log still has results that are not kept any more. */
  #hasDropped = false;
  #rewriting: Promise<void> | undefined;
  #isClosed = false;

  constructor({ state, log, results, observer, release }: JournalParts) {
    this.#state = state;
    this.#log = log;
    this.#results = results;
    this.#observer = observer;
    this.#release = release;
  }

  get id(): Uint8Array {
    return this.#state.id;
  }

  get completeEpochs(): readonly number[] {
    return this.#state.completeEpochs;
  }

  get watermarkMs(): number {
    return this.#state.watermarkMs;
  }

  /** Why the last write found no room; undefined when it did. */
  get failure(): ZlError | undefined {
    return this.#failure;
  }

  get entries(): number {
    return this.#state.entries.size;
  }

  /** The size of the results that are not acknowledged. */
  get resultBytes(): number {
    return this.#state.resultBytes;
  }

  load(): Iterable<JournalEntry> {
    return this.#state.entries.values();
  }

  dispatched(entry: DispatchedEntry, durable: boolean): void {
    this.#write(durable, () => [recordOf({ ...entry, state: 'dispatched' })]);
    this.#state.dispatched(entry);
  }

  finished(entry: FinishedEntry, durable: boolean): void {
    const { callId, result } = entry;
    let filed: FiledResult | undefined;
    try {
      this.#write(durable, () => {
        // First the file: a record that names it says that it is there.
        if (result.length > MAX_INLINE_BYTES) filed = this.#file(entry, durable);
        return [recordOf({ ...entry, state: 'finished' }, filed)];
      });
    } catch (error) {
      if (filed !== undefined) this.#results.remove(callId);
      throw error;
    }
    this.#state.finished(entry, filed);
  }

  acknowledged(callId: string): void {
    const isFiled = this.#state.filed.has(callId);
    this.#hasDropped = true;
    this.#acknowledged.push(callId);
    this.#state.acknowledged(callId);
    // Losing it is harmless, so several share one write; a file is worth one of its own.
    if (isFiled || this.#acknowledged.length >= MAX_ACKNOWLEDGED)
      this.#unlessFull(() => this.#drop());
    if (isFiled) this.#results.remove(callId);
  }

  forget(watermarkMs: number): void {
    this.#write(true, () => [{ head: { op: 'forget', watermarkMs } }]);
    for (const callId of this.#state.forget(watermarkMs)) this.#results.remove(callId);
    this.#hasDropped = true;
  }

  complete(epochs: readonly number[]): void {
    this.#write(true, () => [{ head: { op: 'complete', epochs } }]);
    this.#state.completeEpochs = epochs;
  }

  /** A fact that outlives the file it is about. Without room it is kept another time. */
  mark(name: string): { isSet(): boolean; set(): void } {
    const { marks } = this.#state;
    const set = () => {
      this.#write(true, () => [{ head: { op: 'mark', name } }]);
      marks.add(name);
    };
    const isSet = () => marks.has(name);
    return { isSet, set: () => (isSet() ? undefined : this.#unlessFull(set)) };
  }

  /**
   * Drops what is acknowledged and, when it is time, rewrites the log; call it often. Rejects with
   * journal.corrupt when the file is not the one that was opened.
   */
  async maintain({ isIdle }: { readonly isIdle: boolean }): Promise<void> {
    if (!this.#log.isInPlace) throw replaced(this.#log.path);
    this.#unlessFull(() => this.#drop());
    const { bytes, appendedBytes } = this.#log;
    const isLong = appendedBytes >= Math.max(MAX_APPENDED_BYTES, bytes - appendedBytes);
    const isDue = isIdle && (this.#hasDropped || appendedBytes >= MIN_APPENDED_BYTES);
    if (isLong || isDue) await this.#rewrite();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    // Whoever has taken the journal's place keeps it.
    if (this.#log.isInPlace) {
      this.#unlessFull(() => this.#drop());
      await this.#rewriting;
      await this.#rewrite();
    }
    this.#isClosed = true;
    this.#log.close();
    this.#release();
  }

  #rewrite(): Promise<void> {
    this.#rewriting ??= this.#rewriteOnce().finally(() => {
      this.#rewriting = undefined;
    });
    return this.#rewriting;
  }

  async #rewriteOnce(): Promise<void> {
    this.#hasDropped = false;
    try {
      await this.#log.rewrite(this.#state.records());
    } catch (cause) {
      this.#hasDropped = true;
      // Appending may still succeed; whether it does is what status reports.
      if (!isOutOfRoom(cause)) throw cause;
    }
  }

  #file({ callId, result }: FinishedEntry, durable: boolean): FiledResult {
    const before = this.#state.entries.get(callId);
    const request = before?.state === 'dispatched' ? before.request : undefined;
    return { file: this.#results.write(callId, result, durable), request };
  }

  #drop(): void {
    if (this.#acknowledged.length > 0) this.#write(false, () => []);
  }

  /** For what may wait until there is room. */
  #unlessFull(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (error !== this.#failure) throw error;
    }
  }

  /** What is durable must also be found again, so the file must be in its place. */
  #write(durable: boolean, records: () => readonly LogRecord[]): void {
    const startMs = performance.now();
    if (durable && !this.#log.isInPlace) throw replaced(this.#log.path);
    try {
      const callIds = this.#acknowledged;
      const freed = callIds.length === 0 ? [] : [{ head: { op: 'freed', callIds } }];
      this.#log.append([...freed, ...records()], durable);
    } catch (cause) {
      throw isOutOfRoom(cause) ? this.#noteFailure(cause) : cause;
    }
    this.#acknowledged = [];
    this.#failure = undefined;
    this.#observer.wrote(durable, (performance.now() - startMs) / 1000);
  }

  #noteFailure(cause: Error): ZlError {
    const message = `${this.#log.path} cannot be written: ${cause.message}`;
    this.#failure = new ZlError('journal.failed', message, { cause });
    this.#observer.failed(this.#failure);
    return this.#failure;
  }
}
