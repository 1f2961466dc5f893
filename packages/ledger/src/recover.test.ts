import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { callId, intent, keys, useLedgerDirectory } from '../test/ledger-fixture.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();
const FIRST = 'segment-0000000000000000.jsonl';

test('[AUD-02] a torn write is cut off, and what was acknowledged before it stays', async () => {
  const torn = ['{"at":"20', '\0'.repeat(5_000), '\0\0\0\n{"at":"half', 'x\ny\nz'];
  const ledger = await scratch.open();
  await ledger.append(intent(1));
  await ledger.close();
  for (const [i, text] of torn.entries()) {
    appendFileSync(join(scratch.dir, FIRST), text);
    const again = await scratch.open();
    assert.equal(again.cutBytes, text.length);
    assert.equal(again.size, 2 + i);
    await again.append(intent(i + 2));
    await again.close();
  }
  assert.equal((await verifyLedger(scratch.dir, { keys })).records, 2 + torn.length);
});

test('a crash while a segment begins does not prevent the next start', async () => {
  const ledger = await scratch.open();
  await ledger.append(intent(1));
  await ledger.close();
  for (const text of ['', '{"at":', '\0\0']) {
    writeFileSync(join(scratch.dir, 'segment-0000000000000002.jsonl'), text);
    const again = await scratch.open();
    assert.deepEqual([again.size, again.cutBytes], [2, text.length]);
    await again.close();
  }
  writeFileSync(join(scratch.dir, 'segment-0000000000000002.jsonl'), '');
  const again = await scratch.open();
  await again.append(intent(2));
  await again.close();
  const { ok, records } = await verifyLedger(scratch.dir, { keys });
  assert.deepEqual([ok, records], [true, 3]);
});

test('damage that no crash can have caused is refused', async () => {
  const ledger = await scratch.open({ fsync: true });
  for (let i = 1; i <= 5; i++) await ledger.append(intent(i));
  await ledger.close();
  const file = join(scratch.dir, FIRST);
  const whole = readFileSync(file);
  const corrupt = async (spoil: () => void, message: RegExp) => {
    writeFileSync(file, whole);
    spoil();
    await assert.rejects(scratch.open(), { id: 'ledger.corrupt', message });
  };
  const lines = whole.toString().split('\n');
  const edit = (from: string, to: string) =>
    writeFileSync(file, whole.toString().replace(from, to));
  await corrupt(() => truncateSync(file, whole.length - 10), /line 6 is cut off/);
  await corrupt(
    () => truncateSync(file, whole.length - (lines[5]?.length ?? 0) - 1),
    /record 5 is missing/,
  );
  await corrupt(() => edit(callId(3), callId(9)), /line 5 \(record 4\) does not follow/);
  await corrupt(() => edit(callId(5), callId(9)), /\(record 5\) differs from the checkpoint/);
  await corrupt(() => edit('{"at"', '{"at'), /line 1 cannot be read/);
  writeFileSync(file, whole);
  writeFileSync(join(scratch.dir, 'checkpoint'), 'nothing');
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt', message: /not a signed note/ });
});

test('damage above the last checkpoint is not taken for a torn write when later records rest on it', async () => {
  const ledger = await scratch.open({ fsync: true, checkpointEveryMs: 1_000_000 });
  for (let i = 1; i <= 3; i++) await ledger.append(intent(i));
  const file = join(scratch.dir, FIRST);
  const spoilt = readFileSync(file).toString().replace(`{"at"`, `{"at"`).split('\n');
  const checkpoint = readFileSync(join(scratch.dir, 'checkpoint'));
  await ledger.close();
  writeFileSync(join(scratch.dir, 'checkpoint'), checkpoint);
  writeFileSync(
    file,
    spoilt.map((line, i) => (i === 2 ? line.replace('{', '[') : line)).join('\n'),
  );
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt', message: /line 3 cannot be read/ });
});

test('[AUD-02] a batch of which only later records reached the disk is cut off as a whole', async () => {
  const ledger = await scratch.open({ fsync: true, checkpointEveryMs: 1_000_000 });
  await ledger.append(intent(1));
  await Promise.all([2, 3, 4].map((number) => ledger.append(intent(number))));
  const dir = scratch.crashed(scratch.dir);
  await ledger.close();
  const lines = readFileSync(join(dir, FIRST), 'utf8').split('\n');
  writeFileSync(join(dir, FIRST), lines.with(2, '\0'.repeat(lines[2]?.length ?? 0)).join('\n'));
  const again = await scratch.open({ dir });
  assert.ok(again.cutBytes > 0);
  assert.deepEqual([again.size, again.adopted], [3, 1], 'with the record of what was adopted');
  await again.append(intent(2));
  await again.close();
  const { ok, records } = await verifyLedger(dir, { keys });
  assert.deepEqual([ok, records], [true, 4]);
});

test('a segment whose name is not the index of its first record is refused', async () => {
  const ledger = await scratch.open();
  for (let i = 1; i <= 3; i++) await ledger.append(intent(i));
  await ledger.close();
  renameSync(join(scratch.dir, FIRST), join(scratch.dir, 'segment-0000000000000001.jsonl'));
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt' });
});
