import assert from 'node:assert/strict';
import type { ZlError } from '@zerolatency/errors';
import { SqliteJournal } from '../src/adapters/sqlite/journal.ts';

/** Writes until nothing can be written, and after the remedy once more. */
export function fillsUp(
  path: string,
  { full, remedy }: Record<'full' | 'remedy', () => void>,
): void {
  const failures: ZlError[] = [];
  const observer = { wrote() {}, failed: (error: ZlError) => failures.push(error) };
  const journal = new SqliteJournal(path, observer);
  const id = Buffer.from(journal.id);
  const request = new Uint8Array(10_000);
  const digest = Buffer.from('d');
  const call = (n: number) => ({
    callId: `call ${n}`,
    digest,
    deadlineMs: 1_000,
    host: '',
    request,
  });
  journal.dispatched(call(0), true);
  full();
  const failed = { id: 'journal.failed' };
  assert.throws(() => journal.dispatched(call(1), true), failed);
  assert.throws(() => journal.forget(2_000), failed);
  assert.throws(() => journal.complete([1]), failed);
  assert.equal(journal.watermarkMs, 0);
  assert.equal(journal.failure, failures.at(-1));
  journal.maintain({ isIdle: true });
  remedy();
  journal.dispatched(call(2), true);
  assert.equal(journal.failure, undefined);
  journal.close();
  const again = new SqliteJournal(path, observer);
  assert.deepEqual(Buffer.from(again.id), id);
  assert.deepEqual([...again.load()].map(({ callId }) => callId).sort(), ['call 0', 'call 2']);
  again.close();
}
