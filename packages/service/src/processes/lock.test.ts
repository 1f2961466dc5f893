import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { acquireLock } from './lock.ts';

function lockIn(t: TestContext) {
  const path = join(tempDir(t), 'lock');
  const acquire = () => acquireLock(path, (pid) => new Error(`held by ${pid ?? 'another'}`));
  return { path, acquire };
}

/** A process that tries to take the lock, prints how that went, and stays. */
function startHolder(t: TestContext, path: string) {
  const script = `
    const { acquireLock } = await import(${JSON.stringify(import.meta.resolve('./lock.ts'))});
    try {
      acquireLock(${JSON.stringify(path)}, () => new Error('busy'));
      console.log('held');
    } catch ({ message }) {
      console.log(message);
    }
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
  t.after(() => child.kill('SIGKILL'));
  let warnings = '';
  child.stderr.on('data', (text) => {
    warnings += text;
  });
  const said = once(child.stdout, 'data').then(([text]) => String(text).trim());
  return { child, said, warnings: () => warnings };
}

test('one process holds it, and the others learn which', (t) => {
  const { acquire, path } = lockIn(t);
  const lock = acquire();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  for (let attempt = 0; attempt < 2; attempt++) {
    assert.throws(acquire, { message: `held by ${process.pid}` });
    assert.equal(lock.isHeld(), true);
  }
  lock.release();
  lock.release();
  assert.equal(lock.isHeld(), false);
  acquire().release();
});

test('a process that is killed loses it, and one that runs keeps it', async (t) => {
  const { acquire, path } = lockIn(t);
  const { child, said, warnings } = startHolder(t, path);
  assert.equal(await said, 'held');
  assert.throws(acquire, { message: `held by ${child.pid}` });
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(warnings(), '', 'SQLite loads without a warning');
  const lock = acquire();
  assert.equal(lock.isHeld(), true);
  assert.throws(acquire, { message: `held by ${process.pid}` });
  lock.release();
});

test('of processes that start together at most one holds it', async (t) => {
  const { acquire, path } = lockIn(t);
  const holders = Array.from({ length: 4 }, () => startHolder(t, path));
  const answers = await Promise.all(holders.map(({ said }) => said));
  const held = answers.filter((answer) => answer === 'held').length;
  assert.ok(held <= 1, answers.join());
  for (const { child } of holders) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  acquire().release();
});

test('a holder whose file was removed or replaced learns of it', (t) => {
  const { acquire, path } = lockIn(t);
  const first = acquire();
  rmSync(path);
  assert.equal(first.isHeld(), false);
  const second = acquire();
  assert.deepEqual([first.isHeld(), second.isHeld()], [false, true]);
  writeFileSync(`${path}.new`, '');
  renameSync(`${path}.new`, path);
  assert.equal(second.isHeld(), false);
  first.release();
  second.release();
});

test('a start that failed leaves no file of its own, and never that of another', (t) => {
  const { acquire, path } = lockIn(t);
  acquire().abandon();
  assert.equal(existsSync(path), false);
  const lock = acquire();
  assert.throws(acquire);
  assert.equal(lock.isHeld(), true);
  lock.release();
  acquire().abandon();
  assert.equal(existsSync(path), true);
});
