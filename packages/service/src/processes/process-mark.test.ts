import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { platform } from 'node:os';
import { test } from 'node:test';
import { zombie } from '../../test/zombie.ts';
import { hasItsNumber, isProcessMark, isRunning, markOf } from './process-mark.ts';

const linuxOnly = { skip: platform() === 'linux' ? false : 'reads /proc' };

test('a process is recognised while it runs, and not after it ended', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  const mark = markOf(child.pid!);
  assert.ok(mark !== undefined && isRunning(mark) && hasItsNumber(mark));
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(isRunning(mark), false);
  assert.equal(hasItsNumber(mark), false);
  assert.equal(markOf(child.pid!), undefined);
});

test('a mark does not depend on language and time zone, even where ps reports it', () => {
  const script = `
    import os from 'node:os';
    import { syncBuiltinESMExports } from 'node:module';
    os.platform = () => 'darwin';
    syncBuiltinESMExports();
    const { markOf } = await import(${JSON.stringify(import.meta.resolve('./index.ts'))});
    console.log(markOf(${process.pid}).birth);`;
  const birthIn = (TZ: string) => {
    const env = { ...process.env, TZ };
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
    return spawnSync(process.execPath, args, { env, encoding: 'utf8' }).stdout;
  };
  assert.match(birthIn('UTC'), /\d\d:\d\d:\d\d/);
  assert.equal(birthIn('Asia/Tokyo'), birthIn('UTC'));
});

test('another process with the same pid is not mistaken for it', linuxOnly, () => {
  const mark = markOf(process.pid)!;
  assert.equal(isRunning(mark), true);
  assert.equal(isRunning({ ...mark, birth: `${mark.birth}0` }), false);
  assert.equal(isRunning({ ...mark, birth: '' }), false);
});

test('a zombie is not running', linuxOnly, async (t) => {
  const mark = await zombie(t);
  assert.equal(isRunning(mark), false);
  assert.equal(hasItsNumber(mark), true);
});

test('text that is cut short or names no single process is not a mark', () => {
  assert.equal(isProcessMark(JSON.parse(JSON.stringify(markOf(process.pid)))), true);
  for (const value of [
    undefined,
    null,
    1,
    {},
    { pid: 2 },
    { pid: 2, birth: 1 },
    { pid: '2', birth: '' },
    { pid: 0, birth: '' },
    { pid: -1, birth: '' },
    { pid: 1.5, birth: '' },
  ]) {
    assert.equal(isProcessMark(value), false, JSON.stringify(value));
  }
});
