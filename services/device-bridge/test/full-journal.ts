import assert from 'node:assert/strict';
import type { ZlError } from '@zerolatency/errors';
import { openJournal } from '../src/adapters/journal/open-journal.ts';

/** Writes until nothing can be written, and after the remedy once more. */
export async function fillsUp(
  dir: string,
  { full, remedy }: Record<'full' | 'remedy', () => void>,
): Promise<void> {
  const failures: ZlError[] = [];
  const failed = (error: ZlError) => failures.push(error);
  const observer = { wrote() {}, failed, corrupt() {}, torn() {} };
  const journal = await openJournal(dir, observer, () => true);
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
  const refused = { id: 'journal.failed' };
  assert.throws(() => journal.dispatched(call(1), true), refused);
  // The last block of the file may have room for small records.
  for (let n = 0; n < 1_000 && takes(() => journal.complete([1])); n += 1);
  assert.throws(() => journal.forget(2_000), refused);
  assert.throws(() => journal.complete([1]), refused);
  assert.equal(journal.watermarkMs, 0);
  assert.equal(journal.failure, failures.at(-1));
  await journal.maintain({ isIdle: true });
  remedy();
  journal.dispatched(call(2), true);
  assert.equal(journal.failure, undefined);
  await journal.close();
  const again = await openJournal(dir, observer, () => true);
  assert.deepEqual(Buffer.from(again.id), id);
  assert.deepEqual([...again.load()].map(({ callId }) => callId).sort(), ['call 0', 'call 2']);
  await again.close();
}

function takes(write: () => void): boolean {
  try {
    write();
    return true;
  } catch {
    // The caller looks for the error at the next write.
    return false;
  }
}
