import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { backoffMs } from './backoff.ts';

test('a wait grows with each failure, is never over its cap and never under half of it', () => {
  const anyBackoff = fc.record({
    startMs: fc.integer({ min: 1, max: 1000 }),
    capMs: fc.integer({ min: 1000, max: 60_000 }),
    random: fc
      .double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
      .map((value) => () => value),
  });
  fc.assert(
    fc.property(anyBackoff, fc.nat({ max: 10_000 }), (backoff, failures) => {
      const waitMs = backoffMs(backoff, failures);
      const fullMs = Math.min(backoff.capMs, backoff.startMs * 2 ** Math.min(failures, 40));
      assert.ok(waitMs >= fullMs / 2 && waitMs <= fullMs);
    }),
  );
});
