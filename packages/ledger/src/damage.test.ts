import assert from 'node:assert/strict';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  intent,
  keys,
  ORIGIN,
  receipt,
  signer,
  useLedgerDirectory,
} from '../test/ledger-fixture.ts';
import { signCheckpoint } from './checkpoint.ts';
import { encodeRecord, FIRST_PREV, parseRecord } from './record.ts';
import { type LedgerReport, verifyLedger } from './verify-ledger.ts';

const scratch = useLedgerDirectory();

/** Two segments of a few records each, closed. */
async function written(): Promise<{ segments: string[]; checkpoint: string }> {
  const ledger = await scratch.open({ maxSegmentBytes: 3_000 });
  for (let i = 0; i < 4; i++) {
    await ledger.append(intent(i));
    await ledger.append(await receipt(i));
  }
  await ledger.close();
  const segments = scratch.files().filter((name) => name.startsWith('segment'));
  assert.ok(segments.length >= 2);
  return { segments, checkpoint: readFileSync(join(scratch.dir, 'checkpoint'), 'utf8') };
}

test('[AUD-01] any single altered byte of a ledger is detected', async () => {
  const { segments } = await written();
  const files = [...segments, 'checkpoint'].map((name) => {
    const path = join(scratch.dir, name);
    return { path, bytes: readFileSync(path) };
  });
  const place = fc
    .constantFrom(...files)
    .chain((file) =>
      fc.tuple(fc.constant(file), fc.nat(file.bytes.length - 1), fc.integer({ min: 1, max: 255 })),
    );
  await fc.assert(
    fc.asyncProperty(place, async ([file, at, change]) => {
      const altered = Buffer.from(file.bytes);
      altered[at]! ^= change;
      writeFileSync(file.path, altered);
      const report = await verifyLedger(scratch.dir, { keys, origin: ORIGIN });
      writeFileSync(file.path, file.bytes);
      assert.equal(report.ok, false);
    }),
    { numRuns: 400 },
  );
  assert.ok((await verify()).ok);
});

test('[AUD-01] the first bad record is named, whatever was done to it', async () => {
  const { segments } = await written();
  const name = segments[0]!;
  const path = join(scratch.dir, name);
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  const bad = async (changed: readonly string[]) => {
    writeFileSync(path, changed.map((line) => `${line}\n`).join(''));
    const { ok, firstBad, records } = await verify();
    assert.equal(ok, false);
    assert.ok(records <= lines.length);
    return firstBad;
  };
  const at = (index: number, reason: string, line = index + 1) => ({
    index,
    file: name,
    line,
    reason,
  });
  const altered = lines.with(1, lines[1]!.replace('"tenant":"t"', '"tenant":"s"'));
  assert.deepEqual(await bad(altered), at(1, 'was altered'));
  const otherPrev = lines.with(2, lines[2]!.replace(/"prev":"./, '"prev":"g'));
  assert.deepEqual(await bad(otherPrev), at(2, 'does not follow the record before it'));
  assert.deepEqual(await bad(lines.toSpliced(2, 1)), at(2, 'is missing: record 3 stands there'));
  const swapped = lines.with(1, lines[2]!).with(2, lines[1]!);
  assert.deepEqual(await bad(swapped), at(1, 'is missing: record 2 stands there'));
  const repeated = lines.toSpliced(2, 0, lines[1]!);
  assert.deepEqual(await bad(repeated), at(2, 'is not in its place: record 1 stands there'));
  assert.deepEqual(await bad(lines.with(1, 'x')), at(1, 'cannot be read'));
  assert.deepEqual((await bad(lines.slice(0, -1)))?.index, lines.length - 1);
});

test('a ledger cut below its checkpoint is not whole, and one cut above it is', async () => {
  const ledger = await scratch.open({ checkpointEveryMs: 1_000_000 });
  for (let i = 0; i < 3; i++) await ledger.append(intent(i));
  const [name] = scratch.files().filter((file) => file.startsWith('segment'));
  const path = join(scratch.dir, name!);
  const whole = readFileSync(path);
  truncateSync(path, whole.length - 5);
  const torn = await verify();
  assert.deepEqual([torn.ok, torn.records, torn.checkpointSize], [true, 3, 1]);
  assert.ok(torn.tornBytes > 0);
  writeFileSync(path, whole);
  await ledger.close();
  truncateSync(path, whole.length - 5);
  const { firstBad } = await verify();
  assert.deepEqual(firstBad, { index: 3, reason: 'is missing: a checkpoint covers 4' });
});

test('a segment that is gone, renamed or of another ledger is noticed', async () => {
  const { segments } = await written();
  const last = join(scratch.dir, segments.at(-1)!);
  const bytes = readFileSync(last);
  rmSync(last);
  assert.match((await verify()).firstBad?.reason ?? '', /is missing/);
  writeFileSync(last.replace(/\d{4}\.jsonl/, '9999.jsonl'), bytes);
  assert.ok((await verify()).ok, 'the name of a file decides nothing but its order');
  rmSync(join(scratch.dir, segments[0]!));
  assert.equal((await verify()).firstBad?.index, 0);
});

test('a past rewritten with the right key contradicts a checkpoint that was kept elsewhere', async () => {
  const { checkpoint } = await written();
  for (const name of scratch.files()) rmSync(join(scratch.dir, name));
  await written();
  const rewritten = await verify();
  assert.ok(rewritten.ok);
  const report = await verifyLedger(scratch.dir, { keys, knownCheckpoints: [checkpoint] });
  assert.match(report.firstBad?.reason ?? '', /checkpoint/);
});

test('a checkpoint that is missing, of another key or of another ledger is at fault itself', async () => {
  const { checkpoint } = await written();
  const path = join(scratch.dir, 'checkpoint');
  const reason = async (options: object = {}) => {
    const { firstBad, records } = await verifyLedger(scratch.dir, { keys, ...options });
    assert.ok(records > 8);
    assert.equal(firstBad?.file, 'checkpoint');
    return firstBad?.reason ?? '';
  };
  assert.match(await reason({ origin: 'other' }), /not other/);
  assert.match(await reason({ keys: [] }), /no known key/);
  rmSync(path);
  assert.match(await reason(), /there is no checkpoint/);
  const nothing = await verifyLedger(join(scratch.dir, 'none'), { keys });
  assert.deepEqual([nothing.ok, nothing.records], [false, 0]);
  writeFileSync(path, checkpoint);
  assert.ok((await verify()).ok);
});

test('a segment whose sum of the past is wrong is noticed, also when its record is well chained', async () => {
  await (await scratch.open()).close();
  const [name] = scratch.files().filter((file) => file.startsWith('segment'));
  const path = join(scratch.dir, name!);
  const record = parseRecord(readFileSync(path).subarray(0, -1))!;
  assert.equal(record.prev, FIRST_PREV);
  const body = { frontier: ['0'.repeat(64)], openIntents: [] };
  const { line, leaf } = encodeRecord({ ...record, kind: 'ledger.segment', body });
  writeFileSync(path, line);
  writeFileSync(
    join(scratch.dir, 'checkpoint'),
    await signCheckpoint({ origin: ORIGIN, size: 1, root: leaf }, signer),
  );
  assert.match((await verify()).firstBad?.reason ?? '', /does not sum up/);
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt' });
});

function verify(): Promise<LedgerReport> {
  return verifyLedger(scratch.dir, { keys, origin: ORIGIN });
}
