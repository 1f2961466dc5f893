import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MemoryJournal } from '@zerolatency/call';
import { tempDir } from '@zerolatency/testing';
import fc from 'fast-check';
import { SqliteJournal } from './journal.ts';

const observer = { wrote() {}, failed() {} };
const bytes = (text: string) => new Uint8Array(Buffer.from(text));
/** A call has one deadline: a is due at 1, b at 2 and so on. */
const entry = (callId: string) => ({
  callId,
  digest: bytes('d'),
  deadlineMs: callId.charCodeAt(0) - 96,
  host: `host of ${callId}`,
});

type Step = { readonly op: string; readonly id: string; readonly atMs: number };

test('after any writes and a restart the journal equals one in memory', (t) => {
  const step = fc.record({
    op: fc.constantFrom('dispatched', 'finished', 'acknowledged', 'forget', 'reopen'),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    atMs: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => follows(tempDir(t), steps)),
    { numRuns: 40 },
  );
});

test('the journal reports each write, whether it was synced, and its time in seconds', (t) => {
  const writes: { durable: boolean; seconds: number }[] = [];
  const wrote = (durable: boolean, seconds: number) => writes.push({ durable, seconds });
  const journal = new SqliteJournal(join(tempDir(t), 'journal.db'), { ...observer, wrote });
  writes.length = 0;
  const startMs = performance.now();
  journal.dispatched({ ...entry('a'), request: bytes('r') }, true);
  journal.finished({ ...entry('a'), outcome: bytes('o'), result: bytes('r') }, false);
  journal.close();
  assert.deepEqual(
    writes.map(({ durable }) => durable),
    [true, false],
  );
  const seconds = writes.reduce((sum, write) => sum + write.seconds, 0);
  assert.ok(seconds > 0 && seconds * 1000 <= performance.now() - startMs, `${seconds} s`);
});

function follows(dir: string, steps: readonly Step[]): void {
  const path = join(dir, 'journal.db');
  const model = new MemoryJournal(new Uint8Array(16));
  let real = new SqliteJournal(path, observer);
  const { id } = real;
  const states = new Map<string, string>();
  const apply = ({ op, id: callId, atMs }: Step, n: number) => {
    for (const journal of [model, real]) {
      if (op === 'dispatched' && !states.has(callId)) {
        journal.dispatched({ ...entry(callId), request: bytes('r') }, n % 2 === 0);
      } else if (op === 'finished' && states.get(callId) !== 'acknowledged') {
        const outcome = { outcome: bytes('o'), result: bytes(`result ${n}`) };
        journal.finished({ ...entry(callId), ...outcome }, n % 3 === 0);
      } else if (op === 'acknowledged' && states.get(callId) === 'finished') {
        journal.acknowledged(callId);
      } else if (op === 'forget') {
        journal.forget(atMs);
      }
    }
    const held = [...model.load()];
    const results = held.map((each) => (each.state === 'finished' ? each.result.length : 0));
    assert.equal(real.entries, held.length);
    // A result is counted until the next commit drops it.
    assert.ok(real.resultBytes >= results.reduce((sum, size) => sum + size, 0));
    states.clear();
    for (const each of held) states.set(each.callId, each.state);
    if (op !== 'reopen') return;
    real.close();
    real = new SqliteJournal(path, observer);
  };
  for (const [n, each] of [...steps, { op: 'reopen', id: 'a', atMs: 1 }].entries()) apply(each, n);
  const plain = (journal: SqliteJournal | MemoryJournal) =>
    [...journal.load()]
      .sort((a, b) => a.callId.localeCompare(b.callId))
      .map((each) =>
        Object.fromEntries(
          Object.entries(each).map(([key, value]) => [
            key,
            value instanceof Uint8Array ? Buffer.from(value).toString() : value,
          ]),
        ),
      );
  try {
    assert.deepEqual(plain(real), plain(model));
    assert.equal(real.watermarkMs, model.watermarkMs);
    const held = [...model.load()];
    const results = held.map((each) => (each.state === 'finished' ? each.result.length : 0));
    assert.equal(real.entries, held.length);
    assert.equal(
      real.resultBytes,
      results.reduce((sum, size) => sum + size, 0),
    );
    assert.deepEqual(Buffer.from(real.id), Buffer.from(id));
  } finally {
    real.close();
  }
}

test('[BRG-01] entries written before SIGKILL are there afterwards', async (t) => {
  const path = join(tempDir(t), 'journal.db');
  const module = fileURLToPath(new URL('./journal.ts', import.meta.url));
  const script = `
    import { SqliteJournal } from ${JSON.stringify(module)};
    const journal = new SqliteJournal(${JSON.stringify(path)}, { wrote() {}, failed() {} });
    const digest = new Uint8Array(32);
    for (let n = 0; n < 50; n++) {
      const entry = { callId: 'call' + n, digest, deadlineMs: 1000, host: '' };
      journal.dispatched({ ...entry, request: new Uint8Array(100) }, n % 10 === 0);
    }
    process.kill(process.pid, 'SIGKILL');`;
  spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  const journal = new SqliteJournal(path, observer);
  t.after(() => journal.close());
  assert.equal([...journal.load()].length, 50);
});

test('a second process cannot open a journal that is in use', async (t) => {
  const path = join(tempDir(t), 'journal.db');
  const module = fileURLToPath(new URL('./journal.ts', import.meta.url));
  const script = `
    import { SqliteJournal } from ${JSON.stringify(module)};
    new SqliteJournal(${JSON.stringify(path)}, { wrote() {}, failed() {} });
    process.stdout.write('open');
    setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  assert.throws(() => new SqliteJournal(path, observer), { message: /another bridge is using/ });
  child.kill('SIGKILL');
  await exited;
  new SqliteJournal(path, observer).close();
});

test('a journal of release 0.1.0 opens with its entries and keeps lengths from then on', (t) => {
  const path = join(tempDir(t), 'journal.db');
  const before = new SqliteJournal(path, observer);
  const { id } = before;
  const entryOf = (callId: string) => ({
    ...entry(callId),
    outcome: bytes('o'),
    result: bytes('result'),
  });
  before.finished(entryOf('a'), true);
  before.acknowledged('a');
  before.close();
  const old = new DatabaseSync(path);
  for (const added of ['result_bytes', 'host'])
    old.exec(`ALTER TABLE entries DROP COLUMN ${added}`);
  old.close();
  const journal = new SqliteJournal(path, observer);
  t.after(() => journal.close());
  assert.deepEqual(Buffer.from(journal.id), Buffer.from(id));
  journal.finished(entryOf('b'), true);
  journal.acknowledged('b');
  const lengths = [...journal.load()].map((each) => 'resultBytes' in each && each.resultBytes);
  assert.deepEqual(lengths, [0, 6]);
  const hosts = [...journal.load()].map(({ host }) => host);
  assert.deepEqual(hosts, ['', 'host of b']);
});

test('a checkpoint loses nothing', (t) => {
  const path = join(tempDir(t), 'journal.db');
  const journal = new SqliteJournal(path, observer);
  const result = new Uint8Array(100_000).fill(7);
  for (let n = 0; n < 10; n++) {
    journal.finished({ ...entry(`c${n}`), outcome: bytes('o'), result }, false);
  }
  journal.maintain({ isIdle: true });
  journal.close();
  const again = new SqliteJournal(path, observer);
  t.after(() => again.close());
  assert.equal([...again.load()].length, 10);
});

test('no other user can read the journal, even with access to its folder', (t) => {
  const dir = tempDir(t);
  chmodSync(dir, 0o755);
  const journal = new SqliteJournal(join(dir, 'journal.db'), observer);
  t.after(() => journal.close());
  journal.dispatched({ ...entry('a'), request: bytes('r') }, true);
  const modes = readdirSync(dir).map((name) => statSync(join(dir, name)).mode & 0o077);
  assert.deepEqual(modes, [0, 0]);
});
