import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReplayGuard } from './replay-guard.ts';

test('an id is admitted once until it expires', () => {
  const guard = new ReplayGuard({ maxEntries: 10 });
  assert.equal(guard.admit('a', 100, 0), true);
  assert.equal(guard.admit('a', 100, 50), false);
  assert.equal(guard.admit('a', 100, 100), false);
  assert.equal(guard.admit('a', 300, 101), true);
});

test('a full guard refuses new ids until one expires', () => {
  const guard = new ReplayGuard({ maxEntries: 2 });
  assert.ok(guard.admit('a', 100, 0));
  assert.ok(guard.admit('b', 200, 0));
  assert.equal(guard.admit('c', 200, 50), false);
  assert.equal(guard.admit('c', 200, 150), true);
  assert.equal(guard.admit('b', 200, 150), false);
});

test('no id is admitted twice before it expires', () => {
  const admission = fc.record({ id: fc.nat(5), lifeMs: fc.nat(50), afterMs: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(admission), (admissions) => {
      const guard = new ReplayGuard({ maxEntries: 3 });
      const until = new Map<number, number>();
      let nowMs = 0;
      for (const { id, lifeMs, afterMs } of admissions) {
        nowMs += afterMs;
        if (!guard.admit(String(id), nowMs + lifeMs, nowMs)) continue;
        assert.ok((until.get(id) ?? -1) < nowMs);
        until.set(id, nowMs + lifeMs);
      }
    }),
  );
});
