import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Semaphore } from './semaphore.ts';

test('a semaphore makes callers beyond its permits wait in order', () => {
  const semaphore = new Semaphore(2);
  const came: number[] = [];
  for (const each of [1, 2, 3, 4]) semaphore.acquire(() => came.push(each));
  assert.deepEqual(came, [1, 2]);
  semaphore.release();
  assert.deepEqual(came, [1, 2, 3]);
  semaphore.release();
  assert.deepEqual(came, [1, 2, 3, 4]);
});

test('closing admits waiting and later callers and resolves when all have left', async () => {
  const semaphore = new Semaphore(1);
  const came: string[] = [];
  semaphore.acquire(() => came.push('holds it'));
  semaphore.acquire(() => {
    came.push('waited');
    semaphore.release();
  });
  const closed = semaphore.close().then(() => came.push('empty'));
  semaphore.acquire(() => {
    came.push('came late');
    semaphore.release();
  });
  assert.deepEqual(came, ['holds it', 'waited', 'came late']);
  semaphore.release();
  await closed;
  assert.deepEqual(came, ['holds it', 'waited', 'came late', 'empty']);
});

test('closing an idle semaphore resolves at once', async () => {
  const semaphore = new Semaphore(1);
  semaphore.acquire(() => semaphore.release());
  await semaphore.close();
});
