import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { ZlError } from '@zerolatency/errors';

/** Kept in the order of deadlines: entries come in nearly in it, and are forgotten in it. */
const schema = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS entries (
    call_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    deadline_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dispatched', 'finished', 'acknowledged')),
    request BLOB,
    outcome BLOB,
    result BLOB,
    PRIMARY KEY (deadline_ms, call_id)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * Opened for this process alone: two bridges with one journal would each answer
 * for calls that the other ran. The lock is the operating system's and goes
 * with the process, however it ends.
 */
export function openDatabase(path: string): DatabaseSync {
  // It holds arguments and results; SQLite itself would let every user of the machine read them.
  if (!existsSync(path)) closeSync(openSync(path, 'ax', 0o600));
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.exec('PRAGMA journal_mode = WAL');
    // A checkpoint waits for the disk, so it is made when no call is on the path.
    database.exec('PRAGMA wal_autocheckpoint = 0');
    database.exec(`BEGIN EXCLUSIVE; ${schema} COMMIT`);
    return database;
  } catch (cause) {
    database.close();
    if (cause instanceof Error && /locked|busy/i.test(cause.message)) {
      throw new ZlError('config.invalid', `another bridge is using ${path}`, { cause });
    }
    throw new ZlError('internal', `cannot open the journal ${path}`, { cause });
  }
}
