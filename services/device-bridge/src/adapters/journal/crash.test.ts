import assert from 'node:assert/strict';
import fs, { cpSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type JournalEntry, MemoryJournal } from '@zerolatency/call';
import { tempDir } from '@zerolatency/testing';
import { bytes, entry, opened, plain } from '../../../test/journals.ts';
import { type FileJournal, MAX_INLINE_BYTES } from './journal.ts';

const LOG = 'calls.journal';
const outcome = bytes('o');
const large = (letter: string) => bytes(letter.repeat(MAX_INLINE_BYTES + 1));

interface Act {
  readonly durable: boolean;
  readonly isFree?: boolean;
  /** On the journal and on its model. */
  readonly run: (journal: FileJournal | MemoryJournal) => void;
}

const begin = (id: string, durable: boolean): Act => ({
  durable,
  run: (journal) => journal.dispatched({ ...entry(id), request: bytes(`asks ${id}`) }, durable),
});
const end = (id: string, durable: boolean, result = bytes(`result ${id}`)): Act => ({
  durable,
  run: (journal) => journal.finished({ ...entry(id), outcome, result }, durable),
});
const free = (id: string): Act => ({
  durable: false,
  isFree: true,
  run: (journal) => journal.acknowledged(id),
});
const forget = (atMs: number): Act => ({ durable: true, run: (journal) => journal.forget(atMs) });
const complete: Act = { durable: true, run: (journal) => journal.complete([7, 8]) };

const ACTS: readonly Act[] = [
  begin('a', true),
  begin('b', false),
  end('a', true),
  end('b', false, large('b')),
  free('a'),
  begin('c', true),
  end('c', true, large('c')),
  free('b'),
  begin('d', false),
  forget(1),
  begin('e', true),
  complete,
];

/** An acknowledgement may be lost, so both states that it separates count as one. */
function stateOf(journal: FileJournal | MemoryJournal): string {
  const entries = plain(journal.load()).map(({ callId, state, request, result }) =>
    state === 'acknowledged' ? `${callId} ended` : `${callId} ${request ?? `ended: ${result}`}`,
  );
  const { watermarkMs, completeEpochs } = journal;
  return JSON.stringify({ entries, watermarkMs, completeEpochs });
}

function afterActs(count: number): MemoryJournal {
  const model = new MemoryJournal(new Uint8Array(16));
  for (const act of ACTS.slice(0, count)) act.run(model);
  return model;
}

/** What the journal may say after each number of acts: acknowledged results may still be there. */
function modelled(count: number): readonly string[] {
  const without = (isLost: (act: Act) => boolean) => {
    const model = new MemoryJournal(new Uint8Array(16));
    for (const act of ACTS.slice(0, count)) if (!isLost(act)) act.run(model);
    return stateOf(model);
  };
  const frees = ACTS.filter(({ isFree }) => isFree);
  const all = without(() => false);
  return [
    all,
    without((act) => frees.includes(act)),
    ...frees.map((one) => without((act) => act === one)),
  ];
}

const STEPS = [
  'openSync',
  'closeSync',
  'writeSync',
  'writevSync',
  'fdatasyncSync',
  'fsyncSync',
  'renameSync',
  'rmSync',
] as const;

/** Calls back before each step on the file system, and not for those of the callback. */
function beforeEachStep(t: TestContext, then: (step: string) => void): void {
  let isInside = false;
  for (const name of STEPS) {
    const real = fs[name] as (...given: unknown[]) => unknown;
    t.mock.method(fs, name, (...given: unknown[]) => {
      if (!isInside) {
        isInside = true;
        then(name);
        isInside = false;
      }
      return real(...given);
    });
  }
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
}

test('[BRG-01] a bridge killed at any step of the journal finds each write that had returned', async (t) => {
  const dir = tempDir(t);
  const copies: { path: string; step: string; done: number; isBusy: boolean }[] = [];
  const home = tempDir(t);
  let [done, isBusy, isRecording] = [0, false, false];
  beforeEachStep(t, (step) => {
    if (!isRecording) return;
    const path = join(home, `${copies.length}`);
    cpSync(dir, path, { recursive: true });
    copies.push({ path, step, done, isBusy });
  });
  const journal = await opened(dir);
  isRecording = true;
  for (const act of ACTS) {
    isBusy = true;
    act.run(journal);
    isBusy = false;
    done += 1;
    // A rewrite now and then, over several acts.
    if (done % 5 === 0) void journal.maintain({ isIdle: true });
    if (done % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await journal.close();
  isRecording = false;
  const steps = new Set(copies.map(({ step }) => step));
  assert.deepEqual([...steps].sort(), [...STEPS].sort());
  assert.ok(copies.length > 40, `${copies.length} steps`);
  for (const { path, step, done: acts, isBusy: isWithin } of copies) {
    const found = await opened(path);
    const allowed = [...modelled(acts), ...(isWithin ? modelled(acts + 1) : [])];
    assert.ok(
      allowed.includes(stateOf(found)),
      `${step} after ${acts}: ${stateOf(found).slice(0, 500)}`,
    );
    await found.close();
  }
});

test('[BRG-01] a log that is cut anywhere says what was written before the cut', async (t) => {
  const dir = tempDir(t);
  const copy = tempDir(t);
  const journal = await opened(dir);
  const sizes = [readFileSync(join(dir, LOG)).length];
  for (const act of ACTS) {
    act.run(journal);
    sizes.push(readFileSync(join(dir, LOG)).length);
  }
  cpSync(dir, copy, { recursive: true });
  await journal.close();
  const whole = readFileSync(join(copy, LOG));
  const [base = 0] = sizes;
  for (let bytesLeft = base; bytesLeft <= whole.length; bytesLeft += 23) {
    const cut = tempDir(t);
    writeFileSync(join(cut, LOG), whole.subarray(0, bytesLeft));
    const torn: number[] = [];
    const found = await opened(cut, { torn: (count) => torn.push(count) });
    const acts = sizes.findLastIndex((size) => size <= bytesLeft);
    assert.equal(idsOf(found.load()), idsOf(afterActs(acts).load()), `${bytesLeft} bytes`);
    assert.equal(found.watermarkMs, afterActs(acts).watermarkMs);
    assert.equal(torn.length > 0, !sizes.includes(bytesLeft), `${bytesLeft} bytes`);
    await found.close();
  }
});

/** Without results, which are in files that later acts removed. */
function idsOf(entries: Iterable<JournalEntry>): string {
  return Array.from(entries, ({ callId }) => callId)
    .sort()
    .join();
}

test('[BRG-01] a machine that loses power keeps what was synced', async (t) => {
  const dir = tempDir(t);
  let syncedBytes = 0;
  const sync = fs.fdatasyncSync;
  t.mock.method(fs, 'fdatasyncSync', (fd: number) => {
    sync(fd);
    syncedBytes = fs.fstatSync(fd).size;
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const journal = await opened(dir);
  syncedBytes = readFileSync(join(dir, LOG)).length;
  for (const [n, act] of ACTS.entries()) {
    act.run(journal);
    const left = tempDir(t);
    cpSync(dir, left, { recursive: true });
    truncateSync(join(left, LOG), syncedBytes);
    const found = await opened(left);
    if (act.durable) assert.ok(modelled(n + 1).includes(stateOf(found)), `after ${n + 1}`);
    await found.close();
  }
  await journal.close();
});

test('[BRG-01] each durable write waits for the disk, and no other does', async (t) => {
  const journal = await opened(tempDir(t));
  t.after(() => journal.close());
  const synced: boolean[] = [];
  for (const act of ACTS) {
    let syncs = 0;
    const sync = fs.fdatasyncSync;
    const mocked = t.mock.method(fs, 'fdatasyncSync', (fd: number) => {
      syncs += 1;
      sync(fd);
    });
    syncBuiltinESMExports();
    act.run(journal);
    mocked.mock.restore();
    syncBuiltinESMExports();
    synced.push(syncs === 1);
  }
  assert.deepEqual(
    synced,
    ACTS.map(({ durable }) => durable),
  );
});
