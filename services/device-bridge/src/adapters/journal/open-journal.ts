import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type DispatchedEntry, isReadableRequest } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { acquireLock, type Lock } from '@zerolatency/service/processes';
import { readSqliteJournal, SQLITE_JOURNAL } from './import-sqlite.ts';
import { FileJournal, type JournalObserver, JournalState } from './journal.ts';
import { isOutOfRoom, RecordLog } from './log.ts';
import { replay } from './replay.ts';
import { ResultFiles } from './result-files.ts';

const LOG = 'calls.journal';
const RESULTS = 'results';
const LOCK = 'calls.lock';
/** Damaged journals are kept for whoever looks into it, but they hold arguments and results. */
const MAX_SET_ASIDE = 3;

export interface OpeningObserver extends JournalObserver {
  corrupt(error: ZlError): void;
  /** What the last run wrote in part when the machine lost power. Nobody had been told of it. */
  torn(bytes: number): void;
}

/**
 * Opens the journal in `dir`, for this process alone: two bridges with one journal would each answer for calls
 * that the other ran. A damaged journal is set aside, and a new one takes its place.
 */
export async function openJournal(
  dir: string,
  observer: OpeningObserver,
  isReadable: (entry: DispatchedEntry) => boolean = isReadableRequest,
): Promise<FileJournal> {
  const lock = lockOf(dir);
  try {
    const results = new ResultFiles(join(dir, RESULTS));
    const state =
      readable(dir, { results, observer, isReadable }) ?? new JournalState(randomBytes(16));
    results.prepare(state.filed.keys());
    const log = await RecordLog.create(join(dir, LOG), state.records());
    for (const file of filesOf(SQLITE_JOURNAL)) rmSync(join(dir, file), { force: true });
    return new FileJournal({ state, log, results, observer, release: () => lock.release() });
  } catch (cause) {
    lock.abandon();
    throw isOutOfRoom(cause) ? cannotWrite(dir, cause) : cause;
  }
}

function lockOf(dir: string): Lock {
  try {
    return acquireLock(join(dir, LOCK), () => {
      return new ZlError('config.invalid', `another bridge is using ${dir}`);
    });
  } catch (cause) {
    if (cause instanceof ZlError || !(cause instanceof Error)) throw cause;
    throw cannotWrite(dir, cause);
  }
}

function cannotWrite(dir: string, cause: Error): ZlError {
  const message = `the journal in ${dir} cannot be written: ${cause.message}`;
  return new ZlError('journal.failed', message, { cause });
}

interface Opening {
  readonly results: ResultFiles;
  readonly observer: OpeningObserver;
  /** Whether a callee can say what became of the call. */
  readonly isReadable: (entry: DispatchedEntry) => boolean;
}

/** What the journal in `dir` says; undefined where there is none, or one that cannot answer for its calls. */
function readable(dir: string, opening: Opening): JournalState | undefined {
  const name = [LOG, SQLITE_JOURNAL].find((each) => existsSync(join(dir, each)));
  if (name === undefined) return undefined;
  const path = join(dir, name);
  try {
    const state = name === LOG ? readLog(path, opening) : readSqliteJournal(path);
    for (const entry of state.entries.values()) {
      if (entry.state !== 'dispatched' || opening.isReadable(entry)) continue;
      throw new ZlError('journal.corrupt', `${path} holds a call that cannot be read`);
    }
    return state;
  } catch (reason) {
    if (!(reason instanceof ZlError) || reason.id !== 'journal.corrupt') throw reason;
    const kept = setAside(dir, name);
    const message = `${reason.message}; it is kept as ${kept}`;
    opening.observer.corrupt(new ZlError(reason.id, message, { cause: reason }));
    return undefined;
  }
}

function readLog(path: string, { results, observer }: Opening): JournalState {
  const content = readFileSync(path);
  try {
    const { state, tornBytes } = replay(content);
    for (const [callId, { file }] of [...state.filed]) {
      state.giveResult(callId, results.read(callId, file));
    }
    if (tornBytes > 0) observer.torn(tornBytes);
    return state;
  } catch (cause) {
    if (!(cause instanceof ZlError || cause instanceof SyntaxError)) throw cause;
    throw new ZlError('journal.corrupt', `${path} is damaged`, { cause });
  }
}

/** A journal consists of these. */
function filesOf(name: string): readonly string[] {
  return name === LOG ? [LOG, RESULTS] : [name, `${name}-wal`, `${name}-shm`];
}

function setAside(dir: string, name: string): string {
  const earlier = readdirSync(dir)
    .map((each) => /^(.+\.damaged-[^.Z]+Z?)/.exec(each)?.[1] ?? '')
    .filter((each) => each !== '')
    .sort((a, b) => timeOf(a).localeCompare(timeOf(b)));
  const kept = [...new Set(earlier)];
  for (const old of kept.slice(0, Math.max(0, kept.length - MAX_SET_ASIDE + 1))) {
    for (const each of readdirSync(dir).filter((file) => file.startsWith(old))) {
      rmSync(join(dir, each), { recursive: true, force: true });
    }
  }
  const now = new Date().toISOString().replaceAll(/[:.]/g, '-');
  const aside = join(dir, `${name}.damaged-${now}`);
  // The journal itself last: without it, the rest belongs to none.
  for (const file of filesOf(name).toReversed()) {
    const suffix = file.startsWith(name) ? file.slice(name.length) : `.${file}`;
    if (existsSync(join(dir, file))) renameSync(join(dir, file), `${aside}${suffix}`);
  }
  return aside;
}

const timeOf = (name: string) => name.slice(name.indexOf('.damaged-'));
