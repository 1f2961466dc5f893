import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type JournalEntry, MemoryJournal } from '@zerolatency/call';
import { tempDir } from '@zerolatency/testing';
import fc from 'fast-check';
import { bytes, entry, opened, plain } from '../../../test/journals.ts';
import { MAX_INLINE_BYTES } from './journal.ts';

const MODULE = import.meta.resolve('./open-journal.ts');
const OBSERVER = '{ wrote() {}, failed() {}, corrupt() {}, torn() {} }';

type Step = { readonly op: string; readonly id: string; readonly atMs: number };

test('after any writes and a restart the journal equals one in memory', async (t) => {
  const ops = ['dispatched', 'finished', 'large', 'acknowledged', 'forget', 'pause', 'reopen'];
  const step = fc.record({
    op: fc.constantFrom(...ops),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    atMs: fc.integer({ min: 1, max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), (steps) => follows(tempDir(t), steps)),
    { numRuns: 40 },
  );
});

async function follows(dir: string, steps: readonly Step[]): Promise<void> {
  const model = new MemoryJournal(new Uint8Array(16));
  let real = await opened(dir);
  const { id } = real;
  const states = new Map<string, string>();
  const resultBytes = (held: readonly JournalEntry[]) =>
    held.reduce((sum, each) => sum + (each.state === 'finished' ? each.result.length : 0), 0);
  const apply = async ({ op, id: callId, atMs }: Step, n: number) => {
    for (const journal of [model, real]) {
      if (op === 'dispatched' && !states.has(callId)) {
        journal.dispatched({ ...entry(callId), request: bytes('r') }, n % 2 === 0);
      } else if ((op === 'finished' || op === 'large') && states.get(callId) !== 'acknowledged') {
        const result = bytes(`result ${n}`.repeat(op === 'large' ? MAX_INLINE_BYTES / 8 : 1));
        journal.finished({ ...entry(callId), outcome: bytes('o'), result }, n % 3 === 0);
      } else if (op === 'acknowledged' && states.get(callId) === 'finished') {
        journal.acknowledged(callId);
      } else if (op === 'forget') {
        journal.forget(atMs);
      }
    }
    const held = [...model.load()];
    assert.equal(real.entries, held.length);
    assert.equal(real.resultBytes, resultBytes(held));
    states.clear();
    for (const each of held) states.set(each.callId, each.state);
    if (op === 'pause') await real.maintain({ isIdle: true });
    if (op !== 'reopen') return;
    await real.close();
    real = await opened(dir);
  };
  const all = [...steps, { op: 'reopen', id: 'a', atMs: 1 }];
  for (const [n, each] of all.entries()) await apply(each, n);
  try {
    assert.deepEqual(plain(real.load()), plain(model.load()));
    assert.equal(real.watermarkMs, model.watermarkMs);
    const held = [...model.load()];
    assert.deepEqual([real.entries, real.resultBytes], [held.length, resultBytes(held)]);
    assert.deepEqual(Buffer.from(real.id), Buffer.from(id));
  } finally {
    await real.close();
  }
}

test('the journal reports each write, whether it was synced, and its time in seconds', async (t) => {
  const writes: { durable: boolean; seconds: number }[] = [];
  const wrote = (durable: boolean, seconds: number) => writes.push({ durable, seconds });
  const journal = await opened(tempDir(t), { wrote });
  const startMs = performance.now();
  journal.dispatched({ ...entry('a'), request: bytes('r') }, true);
  journal.finished({ ...entry('a'), outcome: bytes('o'), result: bytes('r') }, false);
  const passedMs = performance.now() - startMs;
  await journal.close();
  assert.deepEqual(
    writes.map(({ durable }) => durable),
    [true, false],
  );
  const seconds = writes.reduce((sum, write) => sum + write.seconds, 0);
  assert.ok(seconds > 0 && seconds * 1000 <= passedMs, `${seconds} s`);
});

test('[BRG-01] entries written before SIGKILL are there afterwards', async (t) => {
  const dir = tempDir(t);
  const script = `
    import { openJournal } from ${JSON.stringify(MODULE)};
    const journal = await openJournal(${JSON.stringify(dir)}, ${OBSERVER});
    const digest = new Uint8Array(32);
    for (let n = 0; n < 50; n++) {
      const entry = { callId: 'call' + n, digest, deadlineMs: 1000, host: '' };
      journal.dispatched({ ...entry, request: new Uint8Array(100) }, n % 10 === 0);
      if (n % 7 > 0) continue;
      const result = new Uint8Array(100_000);
      journal.finished({ ...entry, outcome: new Uint8Array(9), result }, false);
    }
    process.kill(process.pid, 'SIGKILL');`;
  spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  const journal = await opened(dir);
  t.after(() => journal.close());
  const states = [...journal.load()].map(({ state }) => state);
  assert.equal(states.length, 50);
  assert.equal(states.filter((state) => state === 'finished').length, 8);
});

test('a second process cannot open a journal that is in use', async (t) => {
  const dir = tempDir(t);
  const script = `
    import { openJournal } from ${JSON.stringify(MODULE)};
    await openJournal(${JSON.stringify(dir)}, ${OBSERVER});
    process.stdout.write('open');
    setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  await assert.rejects(opened(dir), { message: /another bridge is using/ });
  child.kill('SIGKILL');
  await exited;
  await (await opened(dir)).close();
});

test('rewriting the log loses nothing of before or meanwhile', async (t) => {
  const dir = tempDir(t);
  const journal = await opened(dir);
  const result = new Uint8Array(60_000).fill(7);
  const finish = (callId: string) =>
    journal.finished({ ...entry('a'), callId, outcome: bytes('o'), result }, false);
  for (let n = 0; n < 60; n++) finish(`before ${n}`);
  const logBytes = () => statSync(join(dir, 'calls.journal')).size;
  const longBytes = logBytes();
  for (let n = 0; n < 20; n++) journal.acknowledged(`before ${n}`);
  const rewritten = journal.maintain({ isIdle: true });
  let meanwhile = 0;
  let isRewritten = false;
  // A rewrite of more than a megabyte lets others have their turn of the event loop.
  const write = () => {
    if (isRewritten) return;
    finish(`meanwhile ${meanwhile++}`);
    setImmediate(write);
  };
  setImmediate(write);
  finish('at once');
  await rewritten;
  isRewritten = true;
  assert.ok(meanwhile > 0);
  assert.ok(logBytes() < longBytes + (meanwhile - 10) * result.length, `${logBytes()} bytes`);
  const before = plain(journal.load());
  await journal.close();
  const again = await opened(dir);
  t.after(() => again.close());
  assert.equal(again.entries, 61 + meanwhile);
  assert.deepEqual(plain(again.load()), before);
});

test('a log that grows without a pause is rewritten', async (t) => {
  const dir = tempDir(t);
  const journal = await opened(dir);
  t.after(() => journal.close());
  const result = new Uint8Array(60_000);
  for (let n = 0; n < 1_200; n++) {
    const callId = `call ${n}`;
    journal.finished({ ...entry('a'), callId, outcome: bytes('o'), result }, false);
    journal.acknowledged(callId);
  }
  const file = join(dir, 'calls.journal');
  assert.ok(statSync(file).size > 1_200 * result.length);
  await journal.maintain({ isIdle: false });
  assert.ok(statSync(file).size < 1_200 * 1_000);
});

test('[BRG-01] no other user can read the journal, even with access to its folder', async (t) => {
  const dir = tempDir(t);
  chmodSync(dir, 0o755);
  const journal = await opened(dir);
  t.after(() => journal.close());
  journal.dispatched({ ...entry('a'), request: bytes('r') }, true);
  const result = new Uint8Array(MAX_INLINE_BYTES + 1);
  journal.finished({ ...entry('a'), outcome: bytes('o'), result }, true);
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' });
  const modes = names.map((name) => [name, statSync(join(dir, name)).mode & 0o077]);
  const expected = ['calls.journal', 'calls.lock', 'results', 'results/a.result'];
  assert.deepEqual(
    modes.filter(([name]) => !String(name).startsWith('calls.lock-')).sort(),
    expected.map((name) => [name, 0]),
  );
  assert.equal(readFileSync(join(dir, 'results/a.result')).length, result.length);
});
