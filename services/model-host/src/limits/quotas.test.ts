import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { Quotas } from './quotas.ts';
import { type Quota, Rules } from './rules.ts';

const HOUR_MS = 3_600_000;
const OWNER = { tenant: 'north', user: 'one' };

function rate(amount: number, burst = amount, perMs = HOUR_MS) {
  return { amount, per: `${perMs}ms`, perMs, burst };
}

/** The limits of a pod without Redis, on a clock of the test. */
function alone(users: Record<string, Quota>, { pods = 1, tenants = {} } = {}) {
  const clock = { nowMs: 1000 };
  const refused: string[] = [];
  const quotas = new Quotas({
    rules: new Rules({ tenants, users }),
    ...{ pods, leaseMs: 1000, nowMs: () => clock.nowMs },
    metrics: {
      decided() {},
      refused: (owner, limit) => refused.push(`${owner} ${limit}`),
      switched() {},
    },
    log: { info() {}, warn() {} },
  });
  return { quotas, clock, refused };
}

test('[HOST-12] a limit in USD sets aside what a model call may cost, and shortens its reply', async () => {
  const { quotas, refused } = alone({ default: { usd: rate(1) } });
  // A hundredth of a dollar for each token, whichever way.
  const costOf = ({ inputTokens = 0, outputTokens = 0 }) => (inputTokens + outputTokens) * 1e7;
  const call = (inputTokens: number) =>
    quotas.modelCall(OWNER, { inputTokens, outputTokens: 1000 }, costOf);
  const first = await call(20);
  assert.equal(first.outputTokens, 80);
  await assert.rejects(call(20), { id: 'limit.exceeded' });
  first.settle({ inputTokens: 20, outputTokens: 10, costNanoUsd: 3e8 });
  assert.deepEqual(refused, ['user usd']);
  await assert.rejects(call(101), { id: 'request.too_large' });
});

test('[HOST-12] tool calls have a limit of their own', async () => {
  const { quotas, refused } = alone({ default: { toolCalls: rate(2) } });
  await quotas.open(OWNER, 'turn');
  await quotas.toolCall(OWNER);
  await quotas.toolCall(OWNER);
  await assert.rejects(quotas.toolCall(OWNER), (error: ZlError) => {
    assert.match(error.message, /limits\.users\.default\.toolCalls is 2 per/);
    return true;
  });
  assert.deepEqual(refused, ['user toolCalls']);
  // A conversation without tools goes on.
  quotas.assertRoom(OWNER, 'model');
  assert.throws(() => quotas.assertRoom(OWNER, 'call'), { id: 'limit.exceeded' });
});

test('[HOST-12] a named tenant replaces the default limit by limit', async () => {
  const requests = rate(1);
  const { quotas } = alone({ default: { requests, turns: 1 }, north: { requests: rate(3) } });
  await quotas.open(OWNER, 'a');
  await assert.rejects(quotas.open(OWNER, 'b'), /limits\.users\.default\.turns is 1/);
  const { quotas: unlimited } = alone({ south: { requests } });
  for (const turn of ['a', 'b', 'c']) await unlimited.open(OWNER, turn);
});

test('[HOST-12] whatever is asked and when, a refusal states when the limit admits, and never too early', async () => {
  const step = fc.record({
    waitMs: fc.nat({ max: 5000 }),
    tokens: fc.integer({ min: 1, max: 10 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { quotas, clock } = alone({ default: { outputTokens: rate(60, 10, 60_000) } });
      let granted = 0;
      for (const { waitMs, tokens } of steps) {
        clock.nowMs += waitMs;
        try {
          await quotas.reserve(OWNER, { outputTokens: tokens });
          granted += tokens;
        } catch (reason) {
          assert.ok((reason as ZlError).retryAfterMs! > 0);
          clock.nowMs += (reason as ZlError).retryAfterMs!;
          await quotas.reserve(OWNER, { outputTokens: tokens });
          granted += tokens;
        }
        assert.ok(granted <= 10 + (clock.nowMs - 1000) / 1000 + 1e-6, `${granted}`);
      }
    }),
    { numRuns: 40 },
  );
});

test('[HOST-12] a pod of four without Redis grants a quarter, and at least one turn', async () => {
  const { quotas } = alone({ default: { requests: rate(8), turns: 2 } }, { pods: 4 });
  const end = await quotas.open(OWNER, 'a');
  await assert.rejects(quotas.open(OWNER, 'b'), /turns/);
  end();
  const other = alone({ default: { requests: rate(8) } }, { pods: 4 });
  await other.quotas.open(OWNER, 'a');
  await other.quotas.open(OWNER, 'b');
  await assert.rejects(other.quotas.open(OWNER, 'c'), /requests/);
});

test('[HOST-12] ten thousand users of a tenant share its limit', async () => {
  const tenants = { default: { requests: rate(50) } };
  const { quotas } = alone({ default: { requests: rate(1) } }, { tenants });
  const refused = new Map<string, number>();
  let granted = 0;
  for (let n = 0; n < 10_000; n += 1) {
    try {
      await quotas.open({ tenant: 'north', user: `user-${n}` }, 'turn');
      granted += 1;
    } catch (reason) {
      const { message } = reason as ZlError;
      refused.set(message, (refused.get(message) ?? 0) + 1);
    }
  }
  assert.equal(granted, 50);
  assert.deepEqual([...refused.values()], [9950]);
});
