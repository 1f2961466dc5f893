import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import process, { pid } from 'node:process';
import type { DatabaseSync } from 'node:sqlite';

const COMMIT_PATIENCE_MS = 1_000;

/** Node has no file lock of its own; SQLite's is released by the kernel when its process ends. */
export interface Lock {
  /** False once the file was removed or replaced, since another process may then lock the new one. */
  isHeld(): boolean;
  release(): void;
  /** For a start that failed: leaves no file that was not there before. */
  abandon(): void;
}

/** What to throw when another process holds the lock; its pid is not always known. */
type Refusal = (holderPid: number | undefined) => Error;

/** The file stays when the lock is released; only its holder may remove it. */
export function acquireLock(path: string, refusal: Refusal): Lock {
  const isNew = createPrivate(path);
  const inode = inodeOf(path);
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(path);
  try {
    hold(database);
  } catch (reason) {
    const holder = isBusy(reason) ? holderOf(database) : undefined;
    if (isNew && !isBusy(reason)) removeIfFree(database, path);
    database.close();
    throw isBusy(reason) ? refusal(holder) : reason;
  }
  if (inodeOf(path) !== inode) {
    // Its last holder removed the file, so another process may hold the one that is there now.
    database.close();
    return acquireLock(path, refusal);
  }
  const lock: Lock = {
    isHeld: () => database.isOpen && inodeOf(path) === inode,
    release: () => {
      if (database.isOpen) database.close();
    },
    abandon: () => {
      if (isNew && lock.isHeld()) rmSync(path);
      lock.release();
    },
  };
  return lock;
}

/**
 * On a full disk not even an empty file can be locked. Reading it keeps others from writing
 * their pid into it until the file is gone.
 */
function removeIfFree(database: DatabaseSync, path: string): void {
  try {
    database.exec('BEGIN');
    const { user_version: holder } = database.prepare('PRAGMA user_version').get() ?? {};
    if (holder === 0) rmSync(path);
  } catch {
    // Another process is just taking it, or the disk refuses this too; the first error is reported.
  }
}

/**
 * Keeps a write transaction open, under which others can still read who holds it.
 * The pid must be committed first, so another process may come between; then the next BEGIN fails.
 */
function hold(database: DatabaseSync): void {
  for (;;) {
    database.exec('BEGIN IMMEDIATE');
    if (holderOf(database) === pid) return;
    // A process that reads who holds it delays the commit by microseconds.
    database.exec(`PRAGMA busy_timeout = ${COMMIT_PATIENCE_MS}`);
    database.exec(`PRAGMA user_version = ${pid}; COMMIT; PRAGMA busy_timeout = 0`);
  }
}

function holderOf(database: DatabaseSync): number | undefined {
  try {
    const value = database.prepare('PRAGMA user_version').get()?.user_version;
    return typeof value === 'number' && value > 0 ? value : undefined;
  } catch {
    // Its holder is just writing its pid.
    return undefined;
  }
}

/** Never opens a file that exists: closing it would drop this process's lock on it. */
function createPrivate(path: string): boolean {
  try {
    closeSync(openSync(path, 'ax', 0o600));
    return true;
  } catch (reason) {
    if (!(reason instanceof Error && 'code' in reason && reason.code === 'EEXIST')) throw reason;
    return false;
  }
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

function isBusy(reason: unknown): boolean {
  return reason instanceof Error && /locked|busy/i.test(reason.message);
}

/** Node's SQLite, without the warning at each start that it is experimental. */
export function loadSqlite(): typeof import('node:sqlite') {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return process.getBuiltinModule('node:sqlite');
  } finally {
    process.emitWarning = emitWarning;
  }
}
