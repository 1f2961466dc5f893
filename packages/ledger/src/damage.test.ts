import assert from 'node:assert/strict';
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
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
import { encodeRecord, type RecordContent } from './record.ts';
import { segmentAt } from './segments.ts';
import { MerkleFrontier } from './tree.ts';
import { type LedgerReport, verifyLedger } from './verify.ts';

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

test('[AUD-01] the first bad record is named, whatever was altered', async () => {
  const { segments } = await written();
  const name = segments[0]!;
  const path = join(scratch.dir, name);
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  const bad = async (changed: readonly string[]) => {
    writeFileSync(path, changed.map((line) => `${line}\n`).join(''));
    const { ok, firstBad, records } = await verify();
    assert.equal(ok, false);
    assert.equal(records, firstBad?.index, 'the records before the first bad one');
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
  const otherPrev = lines.with(
    2,
    lines[2]!.replace(/"prev":"(.)/, (_, digit) => `"prev":"${digit === '0' ? 1 : 0}`),
  );
  assert.deepEqual(await bad(otherPrev), at(2, 'does not follow the record before it'));
  assert.deepEqual(await bad(lines.toSpliced(2, 1)), at(2, 'is missing: record 3 stands there'));
  const swapped = lines.with(1, lines[2]!).with(2, lines[1]!);
  assert.deepEqual(await bad(swapped), at(1, 'is missing: record 2 stands there'));
  const repeated = lines.toSpliced(2, 0, lines[1]!);
  assert.deepEqual(await bad(repeated), at(2, 'is not in its place: record 1 stands there'));
  assert.deepEqual(await bad(lines.with(1, 'x')), at(1, 'cannot be read'));
  assert.deepEqual((await bad(lines.slice(0, -1)))?.index, lines.length - 1);
});

test('a ledger cut below its checkpoint is not valid, and one cut above it is', async () => {
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

test('a segment that is missing or renamed is noticed', async () => {
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

test('a past rewritten with the right key contradicts a checkpoint kept elsewhere', async () => {
  const { checkpoint } = await written();
  for (const name of scratch.files()) rmSync(join(scratch.dir, name));
  await written();
  const rewritten = await verify();
  assert.ok(rewritten.ok);
  const report = await verifyLedger(scratch.dir, { keys, knownCheckpoints: [checkpoint] });
  assert.match(report.firstBad?.reason ?? '', /two checkpoints name different ledgers/);
});

test('a missing checkpoint, or one of another key or origin, is reported as the fault', async () => {
  const { checkpoint } = await written();
  const path = join(scratch.dir, 'checkpoint');
  const reason = async (options: object = {}) => {
    const { firstBad, records } = await verifyLedger(scratch.dir, { keys, ...options });
    assert.ok(records > 8);
    assert.equal(firstBad?.file, 'checkpoint');
    return firstBad?.reason ?? '';
  };
  assert.match(await reason({ origin: 'other' }), /not other/);
  const unknown = await verifyLedger(scratch.dir, { keys: [] });
  assert.deepEqual([unknown.verdict, unknown.unchecked.checkpointKeys.length], ['unchecked', 1]);
  rmSync(path);
  assert.match(await reason(), /there is no checkpoint/);
  const nothing = await verifyLedger(join(scratch.dir, 'none'), { keys });
  assert.deepEqual([nothing.ok, nothing.records], [false, 0]);
  writeFileSync(path, checkpoint);
  assert.ok((await verify()).ok);
});

test('a segment that sums up the past wrongly is noticed although it is well chained', async () => {
  const past = [OPENED, intent(1), (await receipt(1)) as RecordContent];
  const honest = await forge(scratch.dir, past);
  await forge(scratch.dir, [...past, segmentStart(honest.frontier)]);
  assert.ok((await verify()).ok);
  await (await scratch.open()).close();
  for (const frontier of [[], ['0'.repeat(64)], [...honest.frontier, ...honest.frontier]]) {
    await forge(scratch.dir, [...past, segmentStart(frontier)]);
    assert.match((await verify()).firstBad?.reason ?? '', /does not sum up/);
    await assert.rejects(scratch.open(), { id: 'ledger.corrupt' });
  }
});

test('[AUD-01] a ledger whose first record does not name it is refused', async () => {
  const started = { kind: 'host.started', body: { version: '1' } } as const;
  const contents: RecordContent[][] = [[started], [segmentStart([])], [OPENED, OPENED]];
  const reasons = [/does not name the ledger/, /does not name/, /names the ledger a second time/];
  for (const [i, content] of contents.entries()) {
    await forge(scratch.dir, content);
    const { ok, firstBad } = await verify();
    assert.equal(ok, false);
    assert.equal(firstBad?.index, i === 2 ? 1 : 0);
    assert.match(firstBad.reason, reasons[i]!);
    await assert.rejects(scratch.open(), { id: 'ledger.corrupt', message: reasons[i]! });
  }
});

test('[AUD-01] a checkpoint or a segment that names another ledger is refused although all else fits', async () => {
  const other = 'f'.repeat(32);
  await forge(scratch.dir, [OPENED, intent(1)], other);
  const { ok, firstBad } = await verify();
  assert.equal(ok, false);
  assert.equal(firstBad?.index, 0);
  assert.match(firstBad.reason, new RegExp(`names ledger ${LEDGER_ID}, .* ledger ${other}`));
  const error = { id: 'ledger.corrupt', message: /the checkpoint of f{32}/ };
  await assert.rejects(scratch.open(), error);
  const { frontier } = await forge(scratch.dir, [OPENED, intent(1)]);
  await forge(scratch.dir, [OPENED, intent(1), segmentStart(frontier, other)]);
  assert.match((await verify()).firstBad?.reason ?? '', /belongs to another ledger, f{32}/);
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt' });
});

test('a record of a later version is refused as newer, and is never cut off as damage', async () => {
  const ledger = await scratch.open({ checkpointEveryMs: 1_000_000 });
  await ledger.close();
  const path = join(scratch.dir, scratch.files().find((file) => file.startsWith('segment'))!);
  const before = readFileSync(path, 'utf8');
  const newer = before.replace('"index":0', '"index":1').replace('"v":2}', '"more":1,"v":3}');
  writeFileSync(path, before + newer);
  const message = /has version 3, which is newer than this program/;
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt', message });
  assert.equal(readFileSync(path, 'utf8'), before + newer);
  const { firstBad } = await verify();
  assert.equal(firstBad?.index, 1);
  assert.match(firstBad.reason, message);
});

test('a record that breaks the contract of its kind is refused although it is well chained', async () => {
  const wrong = { version: '1', colour: 'red' };
  await forge(scratch.dir, [OPENED, { kind: 'host.started', body: wrong }]);
  const { firstBad } = await verify();
  assert.match(firstBad?.reason ?? '', /breaks its contract: colour is not a known field/);
  await assert.rejects(scratch.open(), { id: 'ledger.corrupt', message: /colour is not/ });
});

const LEDGER_ID = '0123456789abcdef'.repeat(2);
const OPENED = { kind: 'ledger.opened', body: { ledgerId: LEDGER_ID } } as const;

function segmentStart(frontier: readonly string[], ledgerId = LEDGER_ID): RecordContent {
  return { kind: 'ledger.segment', body: { ledgerId, frontier, openIntents: [] } };
}

/** Writes what a holder of the signing key can write: every hash and signature fits. */
async function forge(dir: string, contents: readonly RecordContent[], ledgerId = LEDGER_ID) {
  for (const name of readdirSync(dir)) rmSync(join(dir, name));
  const tree = new MerkleFrontier();
  let prev = '0'.repeat(64);
  let path = '';
  for (const [index, content] of contents.entries()) {
    if (index === 0 || content.kind === 'ledger.segment') path = segmentAt(dir, index).path;
    const at = '2026-01-02T03:04:05Z';
    const { line, leaf } = encodeRecord({ v: 1, index, at, prev, synced: 0, ...content });
    appendFileSync(path, line);
    tree.push(leaf);
    prev = hex(leaf);
  }
  const checkpoint = { origin: ORIGIN, ledgerId, size: tree.size, root: tree.root() };
  writeFileSync(join(dir, 'checkpoint'), await signCheckpoint(checkpoint, signer));
  return { frontier: tree.roots.map(hex) };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function verify(): Promise<LedgerReport> {
  return verifyLedger(scratch.dir, { keys, origin: ORIGIN });
}
