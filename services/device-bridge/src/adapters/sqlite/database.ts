import { closeSync, existsSync, openSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
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
    host TEXT,
    PRIMARY KEY (deadline_ms, call_id)
  ) STRICT, WITHOUT ROWID;
`;

/** Result codes of SQLite; the low byte is the primary one. */
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;
/** How SQLite reports a quota or a limit on file sizes. */
const SQLITE_IOERR_WRITE = 778;

type SqliteError = Error & { readonly errcode: number };

function isSqliteError(reason: unknown): reason is SqliteError {
  return reason instanceof Error && 'errcode' in reason && typeof reason.errcode === 'number';
}

/** The file is not a journal any more. */
export function isDamage(reason: unknown): boolean {
  if (!isSqliteError(reason)) return false;
  const primary = reason.errcode & 0xff;
  return primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB;
}

/** The write did nothing, and may succeed when there is space. A sync that failed is no such case. */
export function isOutOfRoom(reason: unknown): reason is SqliteError {
  if (!isSqliteError(reason)) return false;
  return reason.errcode === SQLITE_FULL || reason.errcode === SQLITE_IOERR_WRITE;
}

/**
 * Opens for this process alone: two bridges with one journal would each answer
 * for calls that the other ran. The operating system holds the lock and releases
 * it with the process, however that ends.
 */
export function openDatabase(path: string): DatabaseSync {
  // It holds arguments and results, which SQLite would create readable for every user.
  if (!existsSync(path)) closeSync(openSync(path, 'ax', 0o600));
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.exec('PRAGMA journal_mode = WAL');
    // A checkpoint waits for the disk, so it runs when no call does.
    database.exec('PRAGMA wal_autocheckpoint = 0');
    // Dropped results are overwritten and not only unlinked.
    database.exec('PRAGMA secure_delete = ON');
    checkPages(database);
    database.exec(`BEGIN EXCLUSIVE; ${SCHEMA} COMMIT`);
    const columns = database.prepare("SELECT name FROM pragma_table_info('entries')").all();
    // A journal of release 0.1.0 lacks these.
    for (const added of ['result_bytes INTEGER', 'host TEXT']) {
      if (columns.some(({ name }) => added.startsWith(`${name} `))) continue;
      database.exec(`ALTER TABLE entries ADD COLUMN ${added}`);
    }
    return database;
  } catch (cause) {
    database.close();
    throw openingError(path, cause);
  }
}

/** Reads every page, so that damage shows before a call depends on it. */
function checkPages(database: DatabaseSync): void {
  const found = database.prepare('PRAGMA quick_check(1)').get()?.quick_check;
  if (found !== 'ok') throw new ZlError('journal.corrupt', `its pages are damaged: ${found}`);
}

function openingError(path: string, cause: unknown): ZlError {
  if (cause instanceof ZlError) return cause;
  if (isDamage(cause)) return new ZlError('journal.corrupt', `${path} is damaged`, { cause });
  if (isSqliteError(cause) && (cause.errcode & 0xff) === SQLITE_BUSY) {
    return new ZlError('config.invalid', `another bridge is using ${path}`, { cause });
  }
  if (isOutOfRoom(cause)) {
    const message = `${path} cannot be written: ${cause.message}`;
    return new ZlError('journal.failed', message, { cause });
  }
  return new ZlError('internal', `cannot open the journal ${path}`, { cause });
}
