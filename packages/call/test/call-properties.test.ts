import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Schedule, type Step, scheduleOf } from './sim/schedule.ts';
import { printSchedule, shrink } from './sim/shrink.ts';
import { runOf, violationsOf } from './sim/world.ts';

/** As many as a slow machine runs in ten seconds; more with a number as argument. */
const SEEDS = Number(process.argv[2] ?? 10_000);

test(`[RLY-05] whatever fails, no call runs twice, lies, or ends without an outcome: ${SEEDS} worlds`, () => {
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const schedule = scheduleOf(seed);
    const [violation] = violationsOf(schedule);
    if (violation) assert.fail(report(seed, schedule, violation));
  }
});

test('[RLY-05] the simulated worlds produce every outcome', () => {
  const seen = new Map<string, number>();
  for (let seed = 0; seed < 1_000; seed += 1) {
    for (const { outcome } of runOf(scheduleOf(seed)).calls.values()) {
      const status = outcome?.status ?? 'never sent';
      seen.set(status, (seen.get(status) ?? 0) + 1);
    }
  }
  for (const status of ['done', 'failed', 'denied', 'cancelled', 'unknown', 'never sent']) {
    assert.ok((seen.get(status) ?? 0) >= 10, `${status}: ${seen.get(status)}`);
  }
});

test('[RLY-05] a lost call is sent again after a clean restart, and with effects only then', () => {
  const [plan] = scheduleOf(0);
  assert.ok(plan?.do === 'call');
  const call = { ...plan, isDenied: false, decideMs: 0, workMs: 0, resultBytes: 1 };
  // The first CALL, after a question about the clock and its answer.
  const lost = { do: 'lose', frame: 2 } as const;
  const fall = { atMs: 20, downMs: 50 };
  const outcomeAfter = (hasEffects: boolean, end: Step) => {
    const { violations, calls } = runOf([{ ...call, hasEffects, timeoutMs: 10_000 }, lost, end]);
    assert.deepEqual(violations, []);
    return [...calls.values()][0]?.outcome?.status;
  };
  const crash = { do: 'bridge crash', isMachine: false, kept: 0, ...fall } as const;
  assert.equal(outcomeAfter(true, { do: 'restart', ...fall }), 'done');
  assert.equal(outcomeAfter(true, crash), 'unknown');
  assert.equal(outcomeAfter(false, crash), 'done');
});

test('[RLY-07] a long result crosses a small window completely and never faster than it is read', () => {
  const plan = scheduleOf(0)[0];
  assert.ok(plan?.do === 'call');
  const long = { ...plan, isDenied: false, timeoutMs: 10_000, workMs: 0, resultBytes: 399 };
  const { violations, calls } = runOf([long]);
  assert.deepEqual(violations, []);
  assert.deepEqual(
    [...calls.values()].map(({ outcome }) => outcome?.status),
    ['done'],
  );
});

function report(seed: number, schedule: Schedule, violation: string): string {
  const fails = (candidate: Schedule) => violationsOf(candidate).includes(violation);
  const shortest = printSchedule(shrink(schedule, fails));
  return `seed ${seed}: ${violation}. Shortest schedule:\n${shortest}`;
}
