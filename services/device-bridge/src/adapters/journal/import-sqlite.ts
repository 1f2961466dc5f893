import type { DatabaseSync } from 'node:sqlite';
import type { JournalEntry } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { loadSqlite } from '@zerolatency/service/processes';
import { JournalState } from './journal.ts';

/** The journal of release 0.1.0. */
export const SQLITE_JOURNAL = 'journal.db';

/** Result codes of SQLite; the low byte is the primary one. */
const SQLITE_BUSY = 5;
/** A missing table, a damaged page, another kind of file. */
const DAMAGE = new Set([1, 11, 26]);

/** Reads what a bridge of release 0.1.0 left; its write-ahead log is read along. */
export function readSqliteJournal(path: string): JournalState {
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(path);
  try {
    // Fails while that bridge still runs.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    const found = database.prepare('PRAGMA quick_check(1)').get()?.quick_check;
    if (found !== 'ok') throw corrupt(`its pages are damaged: ${found}`);
    return stateOf(database);
  } catch (cause) {
    throw openingError(path, cause);
  } finally {
    database.close();
  }
}

function stateOf(database: DatabaseSync): JournalState {
  const meta = new Map<unknown, unknown>();
  for (const { key, value } of database.prepare('SELECT key, value FROM meta').all()) {
    meta.set(key, value);
  }
  const state = new JournalState(bytesOf(meta.get('journal_id')));
  state.watermarkMs = Number(meta.get('watermark_ms') ?? 0);
  state.completeEpochs = epochsOf(meta.get('complete_epochs'));
  for (const key of meta.keys()) {
    if (typeof key === 'string' && key.startsWith('mark_')) state.marks.add(key.slice(5));
  }
  for (const row of database.prepare('SELECT * FROM entries').all()) state.restore(entryOf(row));
  return state;
}

function epochsOf(text: unknown): number[] {
  if (typeof text !== 'string') return [];
  const epochs: unknown = JSON.parse(text);
  if (Array.isArray(epochs) && epochs.every(Number.isSafeInteger)) return epochs;
  throw corrupt('its epochs are no numbers');
}

function entryOf(row: Readonly<Record<string, unknown>>): JournalEntry {
  const { call_id: callId, deadline_ms: deadlineMs, state } = row;
  if (typeof callId !== 'string' || typeof deadlineMs !== 'number') throw malformed();
  const host = typeof row.host === 'string' ? row.host : '';
  const key = { callId, digest: bytesOf(row.digest), deadlineMs, host };
  if (state === 'dispatched') return { ...key, state, request: bytesOf(row.request) };
  const outcome = bytesOf(row.outcome);
  if (state === 'finished') return { ...key, state, outcome, result: bytesOf(row.result) };
  // Null where an older bridge wrote it.
  return { ...key, state: 'acknowledged', outcome, resultBytes: Number(row.result_bytes ?? 0) };
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw malformed();
}

const malformed = () => corrupt('it contains a malformed entry');
const corrupt = (why: string) => new ZlError('journal.corrupt', why);

function openingError(path: string, cause: unknown): unknown {
  if (cause instanceof SyntaxError) return corrupt(`${path} is damaged`);
  if (cause instanceof ZlError) {
    return new ZlError(cause.id, `${path} is damaged: ${cause.message}`, { cause });
  }
  if (!(cause instanceof Error && 'errcode' in cause && typeof cause.errcode === 'number')) {
    return cause;
  }
  const code = cause.errcode & 0xff;
  if (code === SQLITE_BUSY) {
    return new ZlError('config.invalid', `another bridge is using ${path}`, { cause });
  }
  return DAMAGE.has(code)
    ? new ZlError('journal.corrupt', `${path} is damaged`, { cause })
    : new ZlError('internal', `cannot open the journal ${path}`, { cause });
}
