import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsRedis } from '@zerolatency/testing';
import { size, TIMEOUT_MS } from '../attack/attack.ts';
import { FAULTS } from './faults.ts';
import { keepEvidence, linesOf, show } from './report.ts';
import { faults, killsOf, runChaos } from './run.ts';

const CALLERS = size({ short: 6, long: 16 });
const CALLS = size({ short: 0, long: 10_000 });
const SEED = Number(process.env.ZL_CHAOS_SEED ?? 1);
/** A short run has a few of each; `make chaos` has all. */
const POINTS = size({ short: [1, 4, 7], long: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] });
const SHORT_FAULTS = [
  'slices of 7 bytes',
  'relay stopped (SIGSTOP)',
  'Redis FLUSHALL',
  'late CALLs of an earlier owner',
  'bridge killed, journal set back, late CALLs',
];

test('[RLY-05] [RLY-06] [RLY-08] whatever dies, stops or is cut off, no call runs twice and each has a true outcome in time', {
  timeout: TIMEOUT_MS,
  ...needsRedis(),
}, async (t) => {
  const kills = (['host', 'relay', 'bridge'] as const).flatMap((victim) => {
    const all = killsOf(victim);
    assert.equal(all.length, 10);
    return POINTS.flatMap((index) => all[index] ?? []);
  });
  const wanted = FAULTS.filter(({ name }) =>
    size({ short: SHORT_FAULTS.includes(name), long: true }),
  );
  const options = {
    seed: SEED,
    acts: [...kills, ...faults(wanted)],
    callers: CALLERS,
    calls: CALLS,
    callsBetween: size({ short: 10, long: 100 }),
    awayMs: size({ short: 2_000, long: 30_000 }),
  };
  const outcome = await runChaos(t, options);
  show(t, linesOf(options, outcome));
  const { violations, calls } = outcome.verdict;
  const kept = process.env.ZL_CHAOS_KEPT;
  if (violations.length > 0 && kept !== undefined)
    keepEvidence(outcome, join(kept, `seed-${SEED}`));
  assert.deepEqual(violations, []);
  assert.ok(calls >= CALLS);
  const { status, stdout, stderr } = await outcome.world.system.zl('audit', 'verify');
  assert.equal(status, 0, stdout + stderr);
});
