import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  callId,
  intent,
  keys,
  ORIGIN,
  otherKey,
  receipt,
  signer,
  useLedgerDirectory,
  watchedDisk,
} from '../test/ledger-fixture.ts';
import { verifyCheckpoint } from './checkpoint.ts';
import { openLedger } from './ledger.ts';
import { type LedgerRow, readLedger } from './read.ts';
import type { RecordBodies } from './record.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();
const FIRST = 'segment-0000000000000000.jsonl';

test('[AUD-01] what was appended is read back in order, chained, and verifies with public keys only', async () => {
  const ledger = await scratch.open({ fsync: true });
  const appended = await Promise.all(
    [intent(1), await receipt(1), intent(2)].map((entry) => ledger.append(entry)),
  );
  assert.deepEqual(
    appended.map(({ index }) => index),
    [1, 2, 3],
  );
  await ledger.close();
  const rows: LedgerRow[] = [];
  for await (const row of readLedger(scratch.dir)) rows.push(row);
  assert.deepEqual(
    rows.map(({ record }) => record.kind),
    ['ledger.opened', 'call.intent', 'call.receipt', 'call.intent'],
  );
  assert.deepEqual(
    rows.slice(1).map((row) => row.leafHash),
    appended.map(({ leafHash }) => leafHash),
  );
  assert.equal(rows[2]?.record.prev, rows[1]?.leafHash);
  const report = await verifyLedger(scratch.dir, { keys, origin: ORIGIN });
  assert.deepEqual(report, {
    verdict: 'valid',
    ok: true,
    origin: ORIGIN,
    ledgerId: report.ledgerId,
    records: 4,
    byKind: { 'ledger.opened': 1, 'call.intent': 2, 'call.receipt': 1 },
    checkpointSize: 4,
    root: report.root,
    unsigned: 0,
    adopted: 0,
    decisions: 0,
    unchecked: { missingKeys: [], newer: [], bundles: [], checkpointKeys: [] },
    tornBytes: 0,
    openIntents: 1,
    firstBad: undefined,
  });
});

test('[AUD-02] appends that wait while the disk works share its next fsync', async () => {
  let syncs = 0;
  const disk = watchedDisk((operation) => {
    if (operation === 'datasync') syncs++;
  });
  const ledger = await scratch.open({ fsync: true, disk });
  syncs = 0;
  let acknowledgedBeforeSync = 0;
  const first = ledger.append(intent(0));
  await Promise.resolve();
  const rest = Array.from({ length: 100 }, (_, i) =>
    ledger.append(intent(i + 1)).then(() => {
      if (syncs < 1) acknowledgedBeforeSync++;
    }),
  );
  await Promise.all([first, ...rest]);
  assert.equal(acknowledgedBeforeSync, 0);
  assert.ok(syncs <= 2, `${syncs} fsyncs for 101 records`);
});

test('a record appended without waiting keeps its place and is on disk after close', async () => {
  const ledger = await scratch.open();
  assert.equal(ledger.appendSoon(intent(1)), 1);
  const { index } = await ledger.append(intent(2));
  assert.equal(index, 2);
  assert.equal(ledger.appendSoon(intent(3)), 3);
  await ledger.close();
  assert.equal((await verifyLedger(scratch.dir, { keys })).records, 4);
});

test('[AUD-02] a ledger that closes has its last record on disk, and a checkpoint that covers it', async () => {
  const slow = Promise.withResolvers<void>();
  let isSlow = false;
  const ledger = await scratch.open({
    disk: watchedDisk((operation) => {
      if (isSlow && operation === 'appendFile') return slow.promise;
    }),
  });
  isSlow = true;
  ledger.appendSoon(intent(1));
  const closed = ledger.close();
  await assert.rejects(scratch.open(), { id: 'ledger.failed', message: /holds/ });
  slow.resolve();
  await closed;
  const note = readFileSync(join(scratch.dir, 'checkpoint'), 'utf8');
  assert.equal(verifyCheckpoint(note, keys).value?.size, 2);
});

test('any mix of appends, rotations and reopenings makes one valid ledger', async () => {
  const sessions = fc.array(
    fc.array(fc.constantFrom('intent', 'receipt', 'soon'), { maxLength: 12 }),
    {
      minLength: 1,
      maxLength: 4,
    },
  );
  let count = 0;
  await fc.assert(
    fc.asyncProperty(sessions, fc.integer({ min: 1, max: 3_000 }), async (all, maxSegmentBytes) => {
      const dir = join(scratch.dir, String(count++));
      let expected = 1;
      let number = 0;
      for (const steps of all) {
        const ledger = await openLedger({
          dir,
          origin: ORIGIN,
          signer,
          fsync: false,
          maxSegmentBytes,
        });
        for (const step of steps) {
          if (step === 'intent') await ledger.append(intent(++number));
          else if (step === 'soon') ledger.appendSoon(intent(++number));
          else await ledger.append(await receipt(number));
          expected++;
        }
        const opened = ledger.openIntents();
        await ledger.close();
        assert.ok(opened.length <= number);
      }
      const report = await verifyLedger(dir, { keys });
      assert.ok(report.ok, report.firstBad?.reason);
      assert.equal(report.checkpointSize, report.records);
      assert.equal(report.byKind['ledger.opened'], 1);
      assert.equal(report.records - (report.byKind['ledger.segment'] ?? 0), expected);
    }),
    { numRuns: 25 },
  );
});

test('a segment ends at its size, and the next one opens without reading those before', async () => {
  const ledger = await scratch.open({ maxSegmentBytes: 4_000 });
  for (let i = 0; i < 40; i++) ledger.appendSoon(intent(i));
  await ledger.close();
  const segments = scratch.files().filter((name) => name.startsWith('segment'));
  assert.ok(segments.length > 2);
  for (const name of segments)
    assert.ok(statSync(join(scratch.dir, name)).size <= 40 * 400 + 4_000);
  writeFileSync(join(scratch.dir, FIRST), 'spoilt\n');
  const again = await scratch.open();
  assert.equal(again.openIntents().length, 40);
  await again.close();
  const report = await verifyLedger(scratch.dir, { keys });
  assert.deepEqual(report.firstBad, { index: 0, file: FIRST, line: 1, reason: 'cannot be read' });
});

test('intents without a receipt pass to the next process until it closes them', async () => {
  const first = await scratch.open({ maxSegmentBytes: 1_500 });
  for (let i = 0; i < 10; i++) await first.append(intent(i));
  for (let i = 0; i < 8; i++) await first.append(await receipt(i));
  assert.deepEqual(first.openIntents(), []);
  await first.close();
  const second = await scratch.open();
  await second.append(intent(20));
  const left = () => second.openIntents().map(({ body }) => body.callId);
  assert.deepEqual(left(), [callId(8), callId(9)]);
  await second.append(await receipt(8));
  assert.deepEqual(left(), [callId(9)]);
});

test('a checkpoint covers what is on disk, and its file follows by itself', async (t) => {
  const ledger = await scratch.open({ checkpointEveryMs: 1 });
  await ledger.append(intent(1));
  assert.equal(verifyCheckpoint(await ledger.checkpoint(), keys).value?.size, 2);
  const onFile = () =>
    verifyCheckpoint(readFileSync(join(scratch.dir, 'checkpoint'), 'utf8'), keys);
  await t.waitFor(() => assert.equal(onFile().value?.size, 2));
});

test('a new key opens a ledger only if the previous key is trusted', async () => {
  await (await scratch.open()).close();
  await assert.rejects(scratch.open({ signer: otherKey }), {
    id: 'ledger.corrupt',
    message: /no known key/,
  });
  await (await scratch.open({ signer: otherKey, keys })).close();
  await assert.rejects(
    scratch.open({ origin: 'other', keys: [otherKey.verifier()] }),
    /another ledger/,
  );
  await assert.rejects(scratch.open({ origin: 'two words' }), { id: 'config.invalid' });
});

test('a record that does not belong in a ledger is refused before it touches the chain', async () => {
  const ledger = await scratch.open();
  const big = { version: 'x'.repeat(1 << 20) };
  await assert.rejects(ledger.append({ kind: 'host.started', body: big }), {
    id: 'request.too_large',
  });
  const wide = { ...intent(1).body, tool: 'x'.repeat(4_096) } as RecordBodies['call.intent'];
  await assert.rejects(ledger.append({ kind: 'call.intent', body: wide }), {
    id: 'request.too_large',
  });
  const odd = { version: 'v', reason: '\ud800' };
  await assert.rejects(ledger.append({ kind: 'host.stopped', body: odd }), {
    id: 'request.invalid',
  });
  const unknown = { version: '1', colour: 'red' };
  await assert.rejects(ledger.append({ kind: 'host.started', body: unknown }), {
    id: 'request.invalid',
    message: /a host.started record breaks its contract: colour is not a known field/,
  });
  await ledger.append({ kind: 'host.started', body: { version: '1', configDigest: undefined } });
  await ledger.close();
  await assert.rejects(ledger.append(intent(1)), { id: 'ledger.failed', message: /closed/ });
  assert.equal((await verifyLedger(scratch.dir, { keys })).records, 2);
});

test('calls that never get a receipt are bounded', async () => {
  const ledger = await scratch.open();
  for (let i = 0; i < 4_096; i++) ledger.appendSoon(intent(i));
  assert.throws(() => ledger.appendSoon(intent(4_096)), { id: 'limit.exceeded' });
  ledger.appendSoon(await receipt(7));
  await ledger.append(intent(4_096));
});

test('[AUD-01] a ledger has a random id that its first record, segments, checkpoints and report name', async () => {
  const ledger = await scratch.open({ maxSegmentBytes: 1_500 });
  for (let i = 0; i < 10; i++) await ledger.append(intent(i));
  await ledger.close();
  const again = await scratch.open();
  const { value: checkpoint } = verifyCheckpoint(await again.checkpoint(), keys);
  await again.close();
  const report = await verifyLedger(scratch.dir, { keys });
  assert.match(report.ledgerId, /^[0-9a-f]{32}$/);
  assert.equal(checkpoint?.ledgerId, report.ledgerId);
  const named: string[] = [];
  for await (const { record } of readLedger(scratch.dir)) {
    if (record.kind === 'ledger.opened') assert.equal(record.index, 0);
    if ('ledgerId' in record.body) named.push(record.body.ledgerId);
  }
  assert.ok(named.length > 2);
  assert.deepEqual([...new Set(named)], [report.ledgerId]);
  const other = join(scratch.dir, 'other');
  await (await openLedger({ dir: other, origin: ORIGIN, signer, fsync: false })).close();
  assert.notEqual((await verifyLedger(other, { keys })).ledgerId, report.ledgerId);
});

test('only one process writes a ledger', async () => {
  const ledger = await scratch.open();
  await assert.rejects(scratch.open(), { id: 'ledger.failed', message: /process \d+ holds/ });
  await ledger.close();
  await (await scratch.open()).close();
});

test('a ledger whose lock is being taken by an unnamed process is refused too', async () => {
  const taker = new DatabaseSync(join(scratch.dir, 'lock'));
  taker.exec('BEGIN EXCLUSIVE');
  await assert.rejects(scratch.open(), { id: 'ledger.failed', message: /another process holds/ });
  taker.close();
});

test('a writer whose lock file was replaced stops instead of spoiling the chain', async () => {
  const ledger = await scratch.open({ checkpointEveryMs: 1 });
  rmSync(join(scratch.dir, 'lock'));
  writeFileSync(join(scratch.dir, 'lock'), '');
  const lost = { id: 'ledger.failed', message: /lock file .* removed or replaced/ };
  await assert.rejects(ledger.append(intent(1)), lost);
  assert.equal(ledger.state, 'failed');
  await assert.rejects(ledger.append(intent(2)), lost);
});
