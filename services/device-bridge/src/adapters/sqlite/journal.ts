import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { DispatchedEntry, FinishedEntry, Journal, JournalEntry } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { isDamage, isOutOfRoom, openDatabase } from './database.ts';

export interface JournalObserver {
  wrote(durable: boolean, seconds: number): void;
  /** A write found no room. It did nothing, and the next one may succeed. */
  failed(error: ZlError): void;
}

const MAX_ACKNOWLEDGED = 64;
/** Above this size of the write-ahead log, a checkpoint runs even while calls do. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;
/** Below it, a checkpoint is not worth its fsync. */
const MIN_LOG_BYTES = 256 * 1024;

/** The journal of calls on SQLite: writes survive a crash in the order they were made. */
export class SqliteJournal implements Journal {
  readonly id: Uint8Array;
  readonly completeEpochs: readonly number[];
  readonly #database: DatabaseSync;
  readonly #observer: JournalObserver;
  readonly #insert: StatementSync;
  readonly #finish: StatementSync;
  readonly #acknowledge: StatementSync;
  readonly #forget: StatementSync;
  readonly #setMeta: StatementSync;
  /** An acknowledgement names only its call, and rows are found by deadline. */
  readonly #deadlines = new Map<string, number>();
  readonly #acknowledged: string[] = [];
  readonly #kept = new KeptResults();
  readonly #path: string;
  readonly #files: FileIdentities;
  #watermarkMs = 0;
  #failure: ZlError | undefined;
  #isFull = false;
  #logBytes = 0;
  /** The log still has results that are not kept any more. */
  #hasDropped = false;

  /** Throws journal.corrupt when it cannot answer for what it holds. */
  constructor(path: string, observer: JournalObserver) {
    const database = openDatabase(path);
    this.#path = path;
    this.#database = database;
    this.#files = new FileIdentities([path, `${path}-wal`]);
    this.#observer = observer;
    this.#setMeta = database.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
    this.#insert = database.prepare(
      `INSERT INTO entries (call_id, digest, deadline_ms, host, state, request)
       VALUES (?, ?, ?, ?, 'dispatched', ?)`,
    );
    this.#finish = database.prepare(
      `INSERT INTO entries (call_id, digest, deadline_ms, host, state, outcome, result)
       VALUES (?, ?, ?, ?, 'finished', ?, ?)
       ON CONFLICT (deadline_ms, call_id) DO UPDATE
       SET state = 'finished', request = NULL, outcome = excluded.outcome, result = excluded.result`,
    );
    this.#acknowledge = database.prepare(
      `UPDATE entries SET state = 'acknowledged', result_bytes = length(result), result = NULL
       WHERE deadline_ms = ? AND call_id = ?`,
    );
    this.#forget = database.prepare('DELETE FROM entries WHERE deadline_ms <= ?');
    try {
      this.id = this.#ownId();
      this.#watermarkMs = Number(this.#meta('watermark_ms') ?? 0);
      this.completeEpochs = readEpochs(this.#meta('complete_epochs'));
      for (const entry of this.load()) this.#take(entry);
    } catch (cause) {
      database.close();
      if (!isDamage(cause)) throw cause;
      throw new ZlError('journal.corrupt', `${path} is damaged`, { cause });
    }
  }

  /** Why the last write found no room; undefined when it did. */
  get failure(): ZlError | undefined {
    return this.#failure;
  }

  get watermarkMs(): number {
    return this.#watermarkMs;
  }

  get entries(): number {
    return this.#deadlines.size;
  }

  /** The size of the results that are not acknowledged. */
  get resultBytes(): number {
    return this.#kept.bytes;
  }

  *load(): Iterable<JournalEntry> {
    this.#drop();
    const rows = this.#database.prepare('SELECT * FROM entries').iterate();
    for (const row of rows) yield entryOf(row);
  }

  dispatched(entry: DispatchedEntry, durable: boolean): void {
    const { callId, digest, deadlineMs, host, request } = entry;
    this.#write(durable, request.length, () => {
      this.#insert.run(callId, digest, deadlineMs, host, request);
    });
    this.#deadlines.set(callId, deadlineMs);
  }

  finished(entry: FinishedEntry, durable: boolean): void {
    const { callId, digest, deadlineMs, host } = entry;
    this.#write(durable, entry.outcome.length + entry.result.length, () => {
      this.#finish.run(callId, digest, deadlineMs, host, entry.outcome, entry.result);
    });
    this.#deadlines.set(callId, deadlineMs);
    this.#kept.keep(callId, entry.result.length);
  }

  acknowledged(callId: string): void {
    // Losing it is harmless, so several share one commit.
    this.#acknowledged.push(callId);
    if (this.#acknowledged.length >= MAX_ACKNOWLEDGED) this.#drop();
  }

  forget(watermarkMs: number): void {
    const next = Math.max(watermarkMs, this.#watermarkMs);
    this.#drop();
    this.#write(true, 0, () => {
      this.#database.exec('BEGIN IMMEDIATE');
      this.#setMeta.run('watermark_ms', next);
      this.#forget.run(next);
      this.#database.exec('COMMIT');
    });
    this.#watermarkMs = next;
    for (const [callId, deadlineMs] of this.#deadlines) {
      if (deadlineMs > next) continue;
      this.#deadlines.delete(callId);
      this.#kept.free(callId);
      this.#hasDropped = true;
    }
  }

  complete(epochs: readonly number[]): void {
    this.#write(true, 0, () => this.#setMeta.run('complete_epochs', JSON.stringify(epochs)));
  }

  /** A fact that outlives the file it is about. Without room it is kept another time. */
  mark(name: string): { isSet(): boolean; set(): void } {
    const key = `mark_${name}`;
    const isSet = () => this.#meta(key) !== undefined;
    const set = () => this.#write(true, 0, () => this.#setMeta.run(key, 1));
    return { isSet, set: () => (isSet() ? undefined : this.#unlessFull(set)) };
  }

  /**
   * Drops what is acknowledged and, when it is time, moves the log into the file; call it
   * often. Throws journal.corrupt when the files are not those that were opened.
   */
  maintain({ isIdle }: { readonly isIdle: boolean }): void {
    this.#files.check();
    this.#unlessFull(() => {
      this.#drop();
      const isDue = this.#logBytes >= (isIdle ? MIN_LOG_BYTES : MAX_LOG_BYTES);
      if (isDue || (isIdle && this.#hasDropped)) this.#checkpoint();
    });
  }

  close(): void {
    // SQLite would delete the log of whoever has taken the journal's place.
    if (!this.#files.areInPlace) return;
    this.#unlessFull(() => this.#drop());
    this.#database.close();
  }

  /** For what may wait until there is room. */
  #unlessFull(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (error !== this.#failure) throw error;
    }
  }

  #checkpoint(): void {
    this.#attempt(() => this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)'));
    this.#logBytes = 0;
    this.#hasDropped = false;
  }

  #drop(): void {
    if (this.#acknowledged.length === 0) return;
    this.#write(false, 0, () => {
      this.#database.exec('BEGIN IMMEDIATE');
      for (const callId of this.#acknowledged) {
        this.#acknowledge.run(this.#deadlines.get(callId) ?? 0, callId);
      }
      this.#database.exec('COMMIT');
    });
    for (const callId of this.#acknowledged.splice(0)) this.#kept.free(callId);
    this.#hasDropped = true;
  }

  /** What is durable must also be found again, so the files must be in their place. */
  #write(durable: boolean, bytes: number, run: () => void): void {
    const startMs = performance.now();
    if (durable) this.#files.check();
    this.#attempt(() => this.#commit(durable, run));
    // Each commit writes whole pages.
    this.#logBytes += bytes + 4096;
    this.#observer.wrote(durable, (performance.now() - startMs) / 1000);
  }

  #commit(durable: boolean, run: () => void): void {
    if (this.#isFull !== durable) {
      // In WAL mode, FULL waits for the disk at each commit and NORMAL never.
      this.#database.exec(`PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`);
      this.#isFull = durable;
    }
    run();
  }

  /** Throws journal.failed when there is no room. */
  #attempt(write: () => void): void {
    try {
      write();
      this.#failure = undefined;
    } catch (cause) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      if (!isOutOfRoom(cause)) throw cause;
      const message = `${this.#path} cannot be written: ${cause.message}`;
      this.#failure = new ZlError('journal.failed', message, { cause });
      this.#observer.failed(this.#failure);
      throw this.#failure;
    }
  }

  #take(entry: JournalEntry): void {
    const { callId, deadlineMs } = entry;
    this.#deadlines.set(callId, deadlineMs);
    if (entry.state === 'finished') this.#kept.keep(callId, entry.result.length);
  }

  #ownId(): Uint8Array {
    const known = this.#meta('journal_id');
    if (known instanceof Uint8Array) return known;
    const made = new Uint8Array(randomBytes(16));
    this.#write(true, 0, () => this.#setMeta.run('journal_id', made));
    return made;
  }

  #meta(key: string) {
    return this.#database.prepare('SELECT value FROM meta WHERE key = ?').get(key)?.value;
  }
}

function readEpochs(text: unknown): number[] {
  if (typeof text !== 'string') return [];
  const epochs: unknown = JSON.parse(text);
  if (Array.isArray(epochs) && epochs.every(Number.isSafeInteger)) return epochs;
  throw corrupt();
}

type Row = Readonly<Record<string, unknown>>;

function entryOf(row: Row): JournalEntry {
  const { call_id: callId, deadline_ms: deadlineMs, state } = row;
  if (typeof callId !== 'string' || typeof deadlineMs !== 'number') throw corrupt();
  const host = typeof row.host === 'string' ? row.host : '';
  const key = { callId, digest: bytesOf(row.digest), deadlineMs, host };
  if (state === 'dispatched') return { ...key, state, request: bytesOf(row.request) };
  const outcome = bytesOf(row.outcome);
  if (state === 'acknowledged') {
    // Null where an older bridge wrote it.
    return { ...key, state, outcome, resultBytes: Number(row.result_bytes ?? 0) };
  }
  if (state !== 'finished') throw corrupt();
  return { ...key, state, outcome, result: bytesOf(row.result) };
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw corrupt();
}

const corrupt = () => new ZlError('journal.corrupt', 'the journal contains a malformed entry');

/** The size of unacknowledged results, kept as a sum: asking SQLite would read every row. */
class KeptResults {
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  keep(callId: string, bytes: number): void {
    this.free(callId);
    if (bytes === 0) return;
    this.#sizes.set(callId, bytes);
    this.#bytes += bytes;
  }

  free(callId: string): void {
    this.#bytes -= this.#sizes.get(callId) ?? 0;
    this.#sizes.delete(callId);
  }
}

/** Notices that a file was deleted, or another one put in its place. */
class FileIdentities {
  readonly #identities: ReadonlyMap<string, string>;

  constructor(paths: readonly string[]) {
    this.#identities = new Map(paths.map((path) => [path, identityOf(path)]));
  }

  get areInPlace(): boolean {
    return this.#moved() === undefined;
  }

  check(): void {
    const path = this.#moved();
    if (path === undefined) return;
    throw new ZlError('journal.corrupt', `${path} was deleted or replaced while the bridge ran`);
  }

  #moved(): string | undefined {
    for (const [path, identity] of this.#identities) {
      if (identityOf(path) !== identity) return path;
    }
    return undefined;
  }
}

function identityOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? 'none' : `${found.dev}:${found.ino}`;
}
