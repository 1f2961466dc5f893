import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BROKEN_RULES, type BrokenRule } from './sim/broken-rules.ts';
import { type Schedule, scheduleOf } from './sim/schedule.ts';
import { printSchedule, shrink } from './sim/shrink.ts';
import { violationsOf } from './sim/world.ts';

/** The rarest of the variants needs about a thousand worlds. */
const MAX_SEEDS = 30_000;

for (const broken of BROKEN_RULES) {
  test(`[RLY-05] the properties notice when ${broken.how} (rule ${broken.rule})`, (t) =>
    catches(broken, t));
}

test('every rule of a call has a variant that breaks it', () => {
  const rules = new Set(BROKEN_RULES.map(({ rule }) => rule));
  assert.deepEqual([...rules].sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
});

function catches({ lie, variant, faults, world = {} }: BrokenRule, t: TestContext): void {
  const lieOf = (schedule: Schedule) => {
    const broken = { ...world, ...variant };
    const found = violationsOf(schedule, broken).find((violation) => lie.test(violation));
    return found !== undefined && violationsOf(schedule, world).length === 0 ? found : undefined;
  };
  for (let seed = 0; seed < MAX_SEEDS; seed += 1) {
    if (lieOf(scheduleOf(seed, faults)) === undefined) continue;
    const shortest = shrink(
      scheduleOf(seed, faults),
      (candidate) => lieOf(candidate) !== undefined,
    );
    assert.deepEqual(violationsOf(shortest, world), [], 'the rule, kept, prevents exactly this');
    t.diagnostic(`seed ${seed}: ${lieOf(shortest)}\n${printSchedule(shortest)}`);
    return;
  }
  assert.fail(`no violation in ${MAX_SEEDS} worlds`);
}
