import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { type Place, TurnSlots, type TurnSlotsOptions } from './turn-slots.ts';

const NEVER = new AbortController().signal;
const MINUTE_MS = 60_000;

function slotsOf(pod: number, queue: Partial<TurnSlotsOptions['queue']> = {}) {
  const waits: string[] = [];
  const slots = new TurnSlots({
    limits: { Pod: pod, Tenant: 1000, User: 1000 },
    queue: { turns: 100, maxWaitMs: MINUTE_MS, weights: {}, ...queue },
    onWaited: (_, outcome) => waits.push(outcome),
  });
  return { slots, waits };
}

/** Enters turns of these tenants in order, and returns the order in which they get the one slot. */
async function orderOf(slots: TurnSlots, tenants: readonly string[]): Promise<string[]> {
  const order: string[] = [];
  const first = slots.enter({ tenant: 'first', user: 'u' });
  await first.slot(NEVER);
  const turns = tenants.map(async (tenant) => {
    const place = slots.enter({ tenant, user: 'u' });
    await place.slot(NEVER);
    order.push(tenant);
    place.leave();
  });
  assert.equal(slots.waiting, tenants.length);
  first.leave();
  await Promise.all(turns);
  return order;
}

test('[HOST-12] slots go round the tenants, whatever each has waiting', async () => {
  const { slots } = slotsOf(1);
  const greedy = Array.from({ length: 50 }, () => 'greedy');
  const order = await orderOf(slots, [...greedy, 'small', 'small', 'other']);
  assert.ok(order.lastIndexOf('small') <= 5, `${order.slice(0, 8)}`);
  assert.ok(order.indexOf('other') <= 3, `${order.slice(0, 8)}`);
  assert.equal(slots.waiting, 0);
});

test('[HOST-12] a tenant that waits with one turn at a time takes no more than its share', async () => {
  const { slots } = slotsOf(1);
  const order: string[] = [];
  const run = async (tenant: string, turns: number) => {
    for (let turn = 0; turn < turns; turn += 1) {
      const place = slots.enter({ tenant, user: 'u' });
      await place.slot(NEVER);
      order.push(tenant);
      await new Promise(setImmediate);
      place.leave();
    }
  };
  await Promise.all([run('one', 10), run('two', 10), run('three', 10)]);
  const half = order.slice(0, 15).filter((tenant) => tenant === 'one').length;
  assert.ok(half >= 4 && half <= 6, `${order}`);
});

test('[HOST-12] a tenant with a weight gets as many slots for one of the others', async () => {
  const { slots } = slotsOf(1, { weights: { heavy: 3 } });
  const each = (tenant: string) => Array.from({ length: 30 }, () => tenant);
  const order = await orderOf(slots, [...each('light'), ...each('heavy')]);
  const heavy = order.slice(0, 40).filter((tenant) => tenant === 'heavy').length;
  assert.ok(heavy >= 28 && heavy <= 30, `${heavy} of 40`);
});

test('[HOST-12] a turn waits no longer than the setting, and the error names it', async () => {
  const { slots, waits } = slotsOf(1, { maxWaitMs: 20 });
  await slots.enter({ tenant: 'a', user: 'u' }).slot(NEVER);
  const late = slots.enter({ tenant: 'b', user: 'u' });
  await assert.rejects(late.slot(NEVER), (error: ZlError) => {
    assert.equal(error.id, 'limit.exceeded');
    assert.match(error.message, /limits\.turnsPerPod is 1 and limits\.queue\.maxWait is 20 ms/);
    assert.ok((error.retryAfterMs ?? 0) >= 1000);
    return true;
  });
  late.leave();
  assert.deepEqual([slots.waiting, waits], [0, ['expired']]);
});

test('[HOST-12] a full queue refuses at once, and a turn that leaves it makes room', async () => {
  const { slots, waits } = slotsOf(1, { turns: 1 });
  const owner = { tenant: 'a', user: 'u' };
  await slots.enter(owner).slot(NEVER);
  const leaving = new AbortController();
  const waiting = slots.enter(owner);
  const slot = waiting.slot(leaving.signal);
  assert.throws(
    () => slots.assertFree(owner),
    /limits\.turnsPerPod is 1 and limits\.queue\.turns is 1/,
  );
  leaving.abort(new Error('left'));
  await assert.rejects(slot, /left/);
  waiting.leave();
  slots.assertFree(owner);
  assert.deepEqual(waits, ['left']);
});

test('[HOST-12] whatever enters and leaves, no more turns run than the pod has slots, and none is lost', async () => {
  const move = fc.record({
    tenant: fc.constantFrom('a', 'b', 'c'),
    action: fc.constantFrom('enter', 'leave', 'abort'),
    index: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(move, { maxLength: 60 }), async (moves) => {
      const { slots } = slotsOf(3, { turns: 5 });
      interface Turn {
        place: Place;
        stop: AbortController;
        runs: boolean;
      }
      const turns: Turn[] = [];
      const running = () => turns.filter((turn) => turn.runs).length;
      for (const { tenant, action, index } of moves) {
        if (action === 'enter') {
          try {
            const turn = {
              place: slots.enter({ tenant, user: 'u' }),
              stop: new AbortController(),
              runs: false,
            };
            turns.push(turn);
            turn.place.slot(turn.stop.signal).then(
              () => (turn.runs = turns.includes(turn)),
              () => {},
            );
          } catch (reason) {
            assert.equal((reason as ZlError).id, 'limit.exceeded');
            assert.equal(turns.length, 8);
          }
        } else {
          const [turn] = turns.splice(index % Math.max(1, turns.length), 1);
          turn?.stop.abort(new Error('left'));
          turn?.place.leave();
        }
        await new Promise(setImmediate);
        assert.equal(running(), Math.min(3, turns.length));
        assert.equal(slots.waiting, Math.max(0, turns.length - 3));
      }
      for (const { stop } of turns) stop.abort(new Error('left'));
    }),
    { numRuns: 50 },
  );
});
