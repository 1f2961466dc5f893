import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isReadableRequest } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { type JournalObserver, SqliteJournal } from './journal.ts';

/** Damaged journals are kept for whoever looks into it, but they hold arguments and results. */
const MAX_SET_ASIDE = 3;

/** Opens the journal at `path`. A damaged one is set aside, and a new one takes its place. */
export function openJournal(
  path: string,
  observer: JournalObserver & { corrupt(error: ZlError): void },
): SqliteJournal {
  try {
    return openReadable(path, observer);
  } catch (reason) {
    if (!(reason instanceof ZlError) || reason.id !== 'journal.corrupt') throw reason;
    const kept = setAside(path);
    const message = `${reason.message}; it is kept as ${kept}`;
    observer.corrupt(new ZlError(reason.id, message, { cause: reason }));
    return new SqliteJournal(path, observer);
  }
}

/** A request that cannot be read leaves a call that nobody can answer for. */
function openReadable(path: string, observer: JournalObserver): SqliteJournal {
  const journal = new SqliteJournal(path, observer);
  for (const entry of journal.load()) {
    if (entry.state !== 'dispatched' || isReadableRequest(entry)) continue;
    journal.close();
    throw new ZlError('journal.corrupt', `${path} holds a call that cannot be read`);
  }
  return journal;
}

function setAside(path: string): string {
  const dir = dirname(path);
  const prefix = `${basename(path)}.damaged-`;
  const earlier = readdirSync(dir)
    .filter((name) => name.startsWith(prefix) && !name.endsWith('-wal'))
    .sort();
  for (const name of earlier.slice(0, Math.max(0, earlier.length - MAX_SET_ASIDE + 1))) {
    for (const file of [name, `${name}-wal`]) rmSync(join(dir, file), { force: true });
  }
  const kept = join(dir, `${prefix}${new Date().toISOString().replaceAll(':', '-')}`);
  // The log first: the new journal must not find it.
  if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${kept}-wal`);
  renameSync(path, kept);
  return kept;
}
