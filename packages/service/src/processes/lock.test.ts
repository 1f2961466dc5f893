import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { zombie } from '../../test/zombie.ts';
import { acquireLock } from './lock.ts';

function lockIn(t: TestContext) {
  const dir = tempDir(t);
  const path = join(dir, 'lock');
  const acquire = () => acquireLock(path, (pid) => new Error(`held by ${pid ?? 'another'}`));
  const leave = (owner: object | string) =>
    writeFileSync(path, typeof owner === 'string' ? owner : JSON.stringify(owner));
  return { dir, path, acquire, leave };
}

test('one holds it, the others are told who does, and nothing is left of it', async (t) => {
  const { dir, acquire } = lockIn(t);
  const lock = await acquire();
  await assert.rejects(acquire(), { message: `held by ${process.pid}` });
  assert.equal(await lock.isHeld(), true);
  await lock.release();
  assert.equal(await lock.isHeld(), false);
  assert.deepEqual(readdirSync(dir), []);
});

test('what a process that is gone left behind is taken over by one', async (t) => {
  const { dir, acquire, leave } = lockIn(t);
  const reborn = { pid: process.pid, birth: 'an earlier boot/1', token: 'x' };
  const gone = { pid: 2 ** 22 + 1, birth: 'x', token: 'x' };
  for (const left of [reborn, gone, '', 'torn']) {
    for (const isClaimed of [false, true]) {
      leave(left);
      if (isClaimed) {
        writeFileSync(join(dir, 'lock.after.x'), JSON.stringify({ ...gone, token: 'y' }));
      }
      const attempts = await Promise.allSettled(Array.from({ length: 8 }, acquire));
      const won = attempts.filter((attempt) => attempt.status === 'fulfilled');
      assert.ok(won.length <= 1);
      // They may all have stood in each other's way; the next one does not.
      const lock = won[0]?.value ?? (await acquire());
      await lock.release();
    }
  }
});

test('a holder from whom it was taken learns of it, and releases nothing', async (t) => {
  const { acquire, leave, dir } = lockIn(t);
  const lock = await acquire();
  leave({ pid: 1, birth: 'x', token: 'other' });
  assert.equal(await lock.isHeld(), false);
  await lock.release();
  assert.deepEqual(readdirSync(dir), ['lock']);
});

test('the lock of a process that ended and was never asked how is taken over', {
  skip: platform() === 'linux' ? false : 'reads /proc',
}, async (t) => {
  const { acquire, leave } = lockIn(t);
  leave({ ...(await zombie(t)), token: 'x' });
  await (await acquire()).release();
});
