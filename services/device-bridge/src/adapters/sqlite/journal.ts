import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { DispatchedEntry, FinishedEntry, Journal, JournalEntry } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { loadSqlite } from '@zerolatency/service/processes';

/** Ordered by deadline: entries arrive nearly in that order, and are forgotten in it. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS entries (
    call_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    deadline_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dispatched', 'finished', 'acknowledged')),
    request BLOB,
    outcome BLOB,
    result BLOB,
    result_bytes INTEGER,
    PRIMARY KEY (deadline_ms, call_id)
  ) STRICT, WITHOUT ROWID;
`;

export interface JournalObserver {
  wrote(durable: boolean, seconds: number): void;
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
  #watermarkMs: number;
  #isFull = false;
  #logBytes = 0;

  constructor(path: string, observer: JournalObserver) {
    const database = openDatabase(path);
    this.#database = database;
    this.#observer = observer;
    this.#setMeta = database.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
    this.#insert = database.prepare(
      `INSERT INTO entries (call_id, digest, deadline_ms, state, request)
       VALUES (?, ?, ?, 'dispatched', ?)`,
    );
    this.#finish = database.prepare(
      `INSERT INTO entries (call_id, digest, deadline_ms, state, outcome, result)
       VALUES (?, ?, ?, 'finished', ?, ?)
       ON CONFLICT (deadline_ms, call_id) DO UPDATE
       SET state = 'finished', request = NULL, outcome = excluded.outcome, result = excluded.result`,
    );
    this.#acknowledge = database.prepare(
      `UPDATE entries SET state = 'acknowledged', result_bytes = length(result), result = NULL
       WHERE deadline_ms = ? AND call_id = ?`,
    );
    this.#forget = database.prepare('DELETE FROM entries WHERE deadline_ms <= ?');
    this.id = this.#ownId();
    this.#watermarkMs = Number(this.#meta('watermark_ms') ?? 0);
    this.completeEpochs = readEpochs(this.#meta('complete_epochs'));
    for (const entry of this.load()) {
      this.#deadlines.set(entry.callId, entry.deadlineMs);
      if (entry.state === 'finished') this.#kept.keep(entry.callId, entry.result.length);
    }
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
    this.#flush();
    const rows = this.#database.prepare('SELECT * FROM entries').iterate();
    for (const row of rows) yield entryOf(row);
  }

  dispatched({ callId, digest, deadlineMs, request }: DispatchedEntry, durable: boolean): void {
    this.#deadlines.set(callId, deadlineMs);
    this.#write(durable, request.length, () => {
      this.#insert.run(callId, digest, deadlineMs, request);
    });
  }

  finished({ callId, digest, deadlineMs, ...entry }: FinishedEntry, durable: boolean): void {
    this.#deadlines.set(callId, deadlineMs);
    this.#write(durable, entry.outcome.length + entry.result.length, () => {
      this.#finish.run(callId, digest, deadlineMs, entry.outcome, entry.result);
    });
    this.#kept.keep(callId, entry.result.length);
  }

  acknowledged(callId: string): void {
    // Losing it is harmless, so several share one commit.
    this.#acknowledged.push(callId);
    if (this.#acknowledged.length >= MAX_ACKNOWLEDGED) this.#flush();
  }

  forget(watermarkMs: number): void {
    const next = Math.max(watermarkMs, this.#watermarkMs);
    this.#flush();
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
    }
  }

  complete(epochs: readonly number[]): void {
    this.#write(true, 0, () => this.#setMeta.run('complete_epochs', JSON.stringify(epochs)));
  }

  /** Moves the log into the file; call it when nothing waits for the journal. */
  checkpoint({ isIdle }: { readonly isIdle: boolean }): void {
    if (this.#logBytes < (isIdle ? MIN_LOG_BYTES : MAX_LOG_BYTES)) return;
    this.#logBytes = 0;
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  close(): void {
    this.#flush();
    this.#database.close();
  }

  #flush(): void {
    if (this.#acknowledged.length === 0) return;
    const callIds = this.#acknowledged.splice(0);
    this.#write(false, 0, () => {
      this.#database.exec('BEGIN IMMEDIATE');
      for (const callId of callIds) {
        this.#acknowledge.run(this.#deadlines.get(callId) ?? 0, callId);
      }
      this.#database.exec('COMMIT');
    });
    for (const callId of callIds) this.#kept.free(callId);
  }

  #write(durable: boolean, bytes: number, run: () => void): void {
    const startMs = performance.now();
    if (this.#isFull !== durable) {
      // In WAL mode, FULL waits for the disk at each commit and NORMAL never.
      this.#database.exec(`PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`);
      this.#isFull = durable;
    }
    run();
    // Each commit writes whole pages.
    this.#logBytes += bytes + 4096;
    this.#observer.wrote(durable, (performance.now() - startMs) / 1000);
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
  const key = { callId, digest: bytesOf(row.digest), deadlineMs };
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

const corrupt = () => new ZlError('internal', 'the journal contains a malformed entry');

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

/**
 * Opens for this process alone: two bridges with one journal would each answer
 * for calls that the other ran. The operating system holds the lock and releases
 * it with the process, however that ends.
 */
function openDatabase(path: string): DatabaseSync {
  // It holds arguments and results, which SQLite would create readable for every user.
  if (!existsSync(path)) closeSync(openSync(path, 'ax', 0o600));
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.exec('PRAGMA journal_mode = WAL');
    // A checkpoint waits for the disk, so it runs when no call does.
    database.exec('PRAGMA wal_autocheckpoint = 0');
    database.exec(`BEGIN EXCLUSIVE; ${SCHEMA} COMMIT`);
    const columns = database.prepare("SELECT name FROM pragma_table_info('entries')").all();
    if (!columns.some(({ name }) => name === 'result_bytes')) {
      // A journal of release 0.1.0.
      database.exec('ALTER TABLE entries ADD COLUMN result_bytes INTEGER');
    }
    return database;
  } catch (cause) {
    database.close();
    if (cause instanceof Error && /locked|busy/i.test(cause.message)) {
      throw new ZlError('config.invalid', `another bridge is using ${path}`, { cause });
    }
    throw new ZlError('internal', `cannot open the journal ${path}`, { cause });
  }
}
