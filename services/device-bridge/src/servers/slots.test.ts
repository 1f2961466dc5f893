import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from './slots.ts';

test('those beyond the count wait in order', () => {
  const slots = new Slots(2);
  const came: number[] = [];
  for (const each of [1, 2, 3, 4]) slots.acquire(() => came.push(each));
  assert.deepEqual(came, [1, 2]);
  slots.release();
  assert.deepEqual(came, [1, 2, 3]);
  slots.release();
  assert.deepEqual(came, [1, 2, 3, 4]);
});

test('a close lets in who waits and who comes, and ends when all have left', async () => {
  const slots = new Slots(1);
  const came: string[] = [];
  slots.acquire(() => came.push('holds it'));
  slots.acquire(() => {
    came.push('waited');
    slots.release();
  });
  const closed = slots.close().then(() => came.push('empty'));
  slots.acquire(() => {
    came.push('came late');
    slots.release();
  });
  assert.deepEqual(came, ['holds it', 'waited', 'came late']);
  slots.release();
  await closed;
  assert.deepEqual(came, ['holds it', 'waited', 'came late', 'empty']);
});

test('a close of what nobody holds ends at once', async () => {
  const slots = new Slots(1);
  slots.acquire(() => slots.release());
  await slots.close();
});
