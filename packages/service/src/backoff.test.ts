import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from './backoff.ts';

const range = { minMs: 100, maxMs: 10_000 };

test('a backoff doubles up to its maximum and never waits less than half of a step', () => {
  const backoff = new Backoff(range);
  for (const stepMs of [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
    const waitMs = backoff.nextMs();
    assert.ok(waitMs >= stepMs / 2 && waitMs <= stepMs, `${waitMs} ms of ${stepMs}`);
  }
});

test('peers that have reached the maximum still wait for different times', () => {
  const backoff = new Backoff(range);
  for (let n = 0; n < 10; n++) backoff.nextMs();
  const waits = new Set(Array.from({ length: 100 }, () => backoff.nextMs()));
  assert.ok(waits.size > 50, `${waits.size} different waits`);
});

test('a backoff that was reset starts at its minimum', () => {
  const backoff = new Backoff(range);
  for (let n = 0; n < 10; n++) backoff.nextMs();
  backoff.reset();
  assert.ok(backoff.nextMs() <= range.minMs);
});

test('a backoff waits for the time that its source of randomness gives', () => {
  const waits = (random: () => number) => {
    const backoff = new Backoff(range, random);
    return Array.from({ length: 3 }, () => backoff.nextMs());
  };
  assert.deepEqual(
    waits(() => 0),
    [50, 100, 200],
  );
  assert.deepEqual(
    waits(() => 0.5),
    [75, 150, 300],
  );
});
