import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { Slots } from './slots.ts';

const SOMEONE = { tenant: 'north', user: 'user-1' };

test('[HOST-12] a user, a tenant and the pod each have a limit, and the error names it', () => {
  const slots = new Slots('turns', { Pod: 4, Tenant: 3, User: 2 });
  slots.take(SOMEONE);
  slots.take(SOMEONE);
  assert.throws(() => slots.take(SOMEONE), refusedBy('turnsPerUser'));
  slots.take({ tenant: 'north', user: 'user-2' });
  assert.throws(() => slots.take({ tenant: 'north', user: 'user-3' }), refusedBy('turnsPerTenant'));
  slots.take({ tenant: 'other', user: 'user-1' });
  assert.throws(() => slots.take({ tenant: 'third', user: 'user-1' }), refusedBy('turnsPerPod'));
});

test('releasing a slot twice frees one', () => {
  const slots = new Slots('turns', { Pod: 9, Tenant: 9, User: 1 });
  const giveBack = slots.take(SOMEONE);
  giveBack();
  giveBack();
  assert.equal(slots.taken, 0);
  slots.take(SOMEONE);
  assert.throws(() => slots.take(SOMEONE), refusedBy('turnsPerUser'));
});

test('whatever is taken and released, no limit is exceeded and no count is left over', () => {
  const who = fc.record({
    tenant: fc.constantFrom('a', 'b', '["a","b'),
    user: fc.constantFrom('x', 'y', 'b","x'),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(who, fc.boolean()), { maxLength: 60 }), (moves) => {
      const slots = new Slots('turns', { Pod: 5, Tenant: 3, User: 2 });
      const held: (() => void)[] = [];
      for (const [identity, gives] of moves) {
        if (gives) held.shift()?.();
        else {
          try {
            held.push(slots.take(identity));
          } catch (reason) {
            assert.equal((reason as ZlError).id, 'limit.exceeded');
          }
        }
        assert.equal(slots.taken, held.length);
        assert.ok(slots.taken <= 5);
      }
      for (const giveBack of held) giveBack();
      assert.equal(slots.taken, 0);
      slots.take(SOMEONE);
      slots.take(SOMEONE);
    }),
  );
});

function refusedBy(limit: string) {
  return (error: ZlError) => error.id === 'limit.exceeded' && error.message.includes(limit);
}
