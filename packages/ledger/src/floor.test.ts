import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  intent,
  keys,
  otherKey,
  receipt,
  signer,
  useLedgerDirectory,
} from '../test/ledger-fixture.ts';
import type { Ledger } from './ledger.ts';
import { readLedger } from './read.ts';
import { encodeRecord, RECORD_VERSION, type RecordContent } from './record.ts';
import { listSegments } from './segments.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();
const NEVER_MS = 1_000_000;

const placeOf = () => ({
  dir: join(scratch.dir, 'ledger'),
  floorFile: join(scratch.dir, 'state', 'ledger-floor.json'),
});

/** A host that wrote some records and stopped. */
async function stopped() {
  const place = placeOf();
  mkdirSync(join(scratch.dir, 'state'));
  const ledger = await scratch.open({ ...place, maxSegmentBytes: 2_000 });
  for (let i = 0; i < 4; i++) await ledger.append(intent(i));
  await ledger.close();
  return { ...place, size: ledger.size };
}

async function lastLeaf(dir: string): Promise<{ index: number; leafHash: string }> {
  let last = { index: -1, leafHash: '' };
  for await (const { record, leafHash } of readLedger(dir))
    last = { index: record.index, leafHash };
  return last;
}

/** Appends a record that fits the chain, as anyone can who writes to the folder. */
async function forgeRecord(dir: string, content: RecordContent): Promise<void> {
  const { index, leafHash } = await lastLeaf(dir);
  const place = { v: RECORD_VERSION, index: index + 1, prev: leafHash, synced: index } as const;
  const { line } = encodeRecord({ at: '2026-01-02T03:04:05.678Z', ...place, ...content });
  appendFileSync((await listSegments(dir)).at(-1)!.path, line);
}

async function cutTail(dir: string): Promise<void> {
  const { path } = (await listSegments(dir)).at(-1)!;
  const lines = readFileSync(path, 'utf8').split('\n');
  writeFileSync(path, [...lines.slice(0, -3), ''].join('\n'));
}

const attacks: Record<string, (dir: string) => unknown> = {
  'its tail cut and its checkpoint deleted': async (dir) => {
    await cutTail(dir);
    rmSync(join(dir, 'checkpoint'));
  },
  'its checkpoint deleted': (dir) => rmSync(join(dir, 'checkpoint')),
  'a record appended': (dir) => forgeRecord(dir, intent(9)),
  'half a record appended': async (dir) =>
    appendFileSync((await listSegments(dir)).at(-1)!.path, '{"at":'),
  'its folder deleted': (dir) => rmSync(dir, { recursive: true }),
  'its folder emptied': (dir) => {
    rmSync(dir, { recursive: true });
    mkdirSync(dir);
  },
  'another ledger in its place': async (dir) => {
    rmSync(dir, { recursive: true });
    const other = await scratch.open({ dir });
    for (let i = 0; i < 9; i++) await other.append(intent(i));
    await other.close();
  },
};

for (const [change, attack] of Object.entries(attacks)) {
  test(`[AUD-01] a ledger with ${change} while its host is stopped is not continued`, async () => {
    const { dir, floorFile } = await stopped();
    await attack(dir);
    const remembered = readFileSync(floorFile, 'utf8');
    await assert.rejects(scratch.open({ dir, floorFile }), { id: 'ledger.corrupt' });
    await assert.rejects(scratch.open({ dir, floorFile }), { id: 'ledger.corrupt' });
    assert.equal(readFileSync(floorFile, 'utf8'), remembered);
  });
}

test('[AUD-01] an older copy of a ledger in its place is not continued, until its floor is removed', async () => {
  const { dir, floorFile, size } = await stopped();
  cpSync(dir, `${dir}.copy`, { recursive: true });
  const ledger = await scratch.open({ dir, floorFile });
  await ledger.append(intent(5));
  await ledger.close();
  rmSync(dir, { recursive: true });
  cpSync(`${dir}.copy`, dir, { recursive: true });
  const message = new RegExp(
    `record ${size} is missing: .*ledger-floor.json covers ${size + 1} of ledger [0-9a-f]{32}; to go on with what is there, remove ${floorFile}`,
  );
  await assert.rejects(scratch.open({ dir, floorFile }), { id: 'ledger.corrupt', message });
  rmSync(floorFile);
  assert.equal((await scratch.open({ dir, floorFile })).size, size);
});

test('a floor that cannot be read does not let any ledger in', async () => {
  const { dir, floorFile } = await stopped();
  for (const text of ['', 'null', '{"size":0}', readFileSync(floorFile, 'utf8').slice(0, -8)]) {
    writeFileSync(floorFile, text);
    await assert.rejects(scratch.open({ dir, floorFile }), { id: 'ledger.corrupt' });
    assert.equal(readFileSync(floorFile, 'utf8'), text);
  }
});

test('a ledger without a floor gets one', async () => {
  const { dir, floorFile, size } = await stopped();
  rmSync(floorFile);
  const ledger = await scratch.open({ dir, floorFile });
  assert.ok(existsSync(floorFile));
  assert.deepEqual([ledger.size, ledger.adopted], [size, 0]);
});

/** A host that crashed with records above its last checkpoint. */
async function crashed(tail: (ledger: Ledger) => Promise<unknown>) {
  const { dir, floorFile } = await stopped();
  const ledger = await scratch.open({ dir, floorFile, checkpointEveryMs: NEVER_MS });
  await tail(ledger);
  const left = scratch.crashed(dir);
  const floor = readFileSync(floorFile, 'utf8');
  await ledger.close();
  writeFileSync(floorFile, floor);
  return { dir: left, floorFile, size: ledger.size };
}

test('[AUD-01] records that a crash left unsigned are adopted, and the ledger says how many', async () => {
  const { dir, floorFile, size } = await crashed(async (ledger) => {
    await ledger.append(intent(5));
    await ledger.append(await receipt(5));
    await ledger.append(intent(6));
  });
  const ledger = await scratch.open({ dir, floorFile });
  assert.equal(ledger.adopted, 3);
  await ledger.close();
  const again = await scratch.open({ dir, floorFile });
  assert.equal(again.adopted, 0);
  const adopted: unknown[] = [];
  for await (const { record } of readLedger(dir, { from: size })) adopted.push(record);
  assert.deepEqual(
    adopted.map((record) => ({ ...(record as object), at: '', prev: '', synced: 0 })),
    [
      {
        v: 2,
        index: size,
        kind: 'ledger.adopted',
        body: { records: 3 },
        at: '',
        prev: '',
        synced: 0,
      },
    ],
  );
  const report = await verifyLedger(dir, { keys });
  assert.deepEqual([report.ok, report.adopted], [true, 3]);
});

test('[AUD-01] a tail with a receipt that another key signed is not adopted', async () => {
  for (const by of [otherKey, signer]) {
    const { dir, floorFile } = await crashed((ledger) => ledger.append(intent(5)));
    await forgeRecord(dir, (await receipt(5, by)) as RecordContent);
    const opened = scratch.open({ dir, floorFile });
    if (by === signer) assert.equal((await opened).adopted, 2);
    else await assert.rejects(opened, { id: 'ledger.corrupt', message: /not this host's/ });
    rmSync(join(scratch.dir, 'ledger'), { recursive: true });
    rmSync(join(scratch.dir, 'state'), { recursive: true });
  }
});

test('[AUD-01] a crash does not open a ledger that was cut below its floor', async () => {
  const { dir, floorFile } = await crashed((ledger) => ledger.append(intent(5)));
  await cutTail(dir);
  await assert.rejects(scratch.open({ dir, floorFile }), { id: 'ledger.corrupt' });
  rmSync(join(dir, 'checkpoint'));
  await assert.rejects(scratch.open({ dir, floorFile }), { id: 'ledger.corrupt' });
});
