import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusals } from './refusals.ts';

test('[HOST-12] a sender is told why it is refused a hundred times, then twenty times a second', () => {
  let nowMs = 0;
  const refusals = new Refusals(() => nowMs);
  for (let count = 0; count < 100; count++) {
    assert.equal(refusals.isSpent('Bearer greedy'), false);
    refusals.count('Bearer greedy');
  }
  assert.equal(refusals.isSpent('Bearer greedy'), true);
  assert.equal(refusals.isSpent('Bearer honest'), false);
  nowMs = 50;
  assert.equal(refusals.isSpent('Bearer greedy'), false);
  refusals.count('Bearer greedy');
  assert.equal(refusals.isSpent('Bearer greedy'), true);
  nowMs = 10_000;
  assert.equal(refusals.isSpent('Bearer greedy'), false);
});
