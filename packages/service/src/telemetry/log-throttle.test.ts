import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogThrottle } from './log-throttle.ts';

test('[OPS-04] a kind of event gets so many lines a minute, and the next says how many got none', () => {
  const throttle = new LogThrottle(2);
  const taken = (nowMs: number, kind = 'refused') => throttle.take(kind, nowMs);
  assert.deepEqual([taken(0), taken(1), taken(2), taken(59_999)], [0, 0, undefined, undefined]);
  assert.equal(taken(3, 'late'), 0);
  assert.deepEqual([taken(60_000), taken(60_001), taken(60_002)], [2, 0, undefined]);
  assert.equal(taken(300_000), 1);
});
