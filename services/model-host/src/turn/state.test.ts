import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import type { TurnLimits } from './budget.ts';
import { narrowLimits } from './budget.ts';
import { ADMITTED, isEnd, MAX_REPROMPTS, stepOf, type TurnInput, transition } from './state.ts';

const limits: TurnLimits = {
  maxSteps: 3,
  maxToolDepth: 1,
  timeoutMs: 1000,
  maxInputTokens: 100,
  maxOutputTokens: 100,
};
const cancelled = new ZlError('turn.cancelled', 'gone');

function run(inputs: readonly TurnInput[], with_: TurnLimits = limits) {
  return inputs.reduce((state, input) => transition(state, input, with_), ADMITTED);
}

const begin: TurnInput = { type: 'begin' };
const asked: TurnInput = { type: 'asked', calls: 1, depth: 1 };
const acted: TurnInput = { type: 'acted' };
const answered: TurnInput = { type: 'answered' };
const recorded: TurnInput = { type: 'recorded' };
const unparsable: TurnInput = { type: 'unparsable', reason: 'not JSON' };

test('[HOST-02] a turn plans, acts, reflects and responds, and each model call is a step', () => {
  assert.deepEqual(run([begin]), { at: 'planning', step: 1, reprompts: 0 });
  assert.deepEqual(run([begin, asked]), { at: 'acting', step: 1, calls: 1 });
  assert.deepEqual(run([begin, asked, acted]), { at: 'reflecting', step: 2, reprompts: 0 });
  assert.deepEqual(run([begin, asked, acted, answered]), { at: 'responding', step: 2 });
  assert.deepEqual(run([begin, asked, acted, answered, recorded]), { at: 'done', step: 2 });
});

test('[HOST-07] tools whose results no model call could see do not run', () => {
  const state = run([begin, asked, acted, asked, acted, asked]);
  assert.ok(state.at === 'failed' && state.error.id === 'budget.steps');
});

test('[HOST-07] calls nested deeper than max_tool_depth do not run', () => {
  const state = run([begin, { type: 'asked', calls: 1, depth: 2 }]);
  assert.ok(state.at === 'failed' && state.error.id === 'budget.depth');
});

test('[HOST-08] prompts a model again twice when its calls are unreadable, then fails the turn', () => {
  const tries = Array.from({ length: MAX_REPROMPTS }, () => unparsable);
  const patient = { ...limits, maxSteps: 10 };
  assert.equal(run([begin, ...tries], patient).at, 'planning');
  const state = run([begin, ...tries, unparsable], patient);
  assert.ok(state.at === 'failed' && state.error.id === 'provider.unparsable');
});

test('a client that left or a stopping pod cancels the turn; any other error fails it', () => {
  const ends = (id: ConstructorParameters<typeof ZlError>[0]) =>
    run([begin, { type: 'stopped', error: new ZlError(id, '') }]).at;
  assert.equal(ends('turn.cancelled'), 'cancelled');
  assert.equal(ends('server.draining'), 'cancelled');
  assert.equal(ends('budget.time'), 'failed');
  assert.equal(ends('provider.failed'), 'failed');
});

const inputs = fc.oneof(
  fc.constantFrom(begin, acted, answered, recorded, unparsable),
  fc.record({
    type: fc.constant('asked' as const),
    calls: fc.integer({ min: 1, max: 5 }),
    depth: fc.integer({ min: 1, max: 2 }),
  }),
  fc.record({
    type: fc.constant('stopped' as const),
    error: fc.constantFrom(cancelled, new ZlError('budget.time', '')),
  }),
);

test('for any inputs, steps stay within max_steps, ends are final and only illegal inputs throw', () => {
  fc.assert(
    fc.property(fc.array(inputs, { maxLength: 40 }), (sequence) => {
      let state = ADMITTED;
      for (const input of sequence) {
        const before = state;
        try {
          state = transition(before, input, limits);
        } catch (reason) {
          assert.ok(reason instanceof ZlError && reason.id === 'internal');
          continue;
        }
        assert.ok(stepOf(state) <= limits.maxSteps);
        assert.ok(stepOf(state) >= stepOf(before));
        if (isEnd(before)) assert.equal(state, before);
      }
    }),
  );
});

test('every state but an end can be stopped, so a cancel is never lost', () => {
  fc.assert(
    fc.property(fc.array(inputs, { maxLength: 20 }), (sequence) => {
      let state = ADMITTED;
      for (const input of sequence) {
        try {
          state = transition(state, input, limits);
        } catch {
          // Illegal here; the property above looks at that.
        }
      }
      const stopped = transition(state, { type: 'stopped', error: cancelled }, limits);
      assert.ok(isEnd(stopped));
      if (!isEnd(state)) assert.equal(stopped.at, 'cancelled');
    }),
  );
});

test('[HOST-07] a client narrows the limits and never widens them', () => {
  const key = fc.constantFrom(...(Object.keys(limits) as (keyof TurnLimits)[]));
  fc.assert(
    fc.property(fc.dictionary(key, fc.nat({ max: 2000 })), (wished) => {
      const narrowed = narrowLimits(limits, wished);
      for (const name of Object.keys(limits) as (keyof TurnLimits)[]) {
        const wish = wished[name] || limits[name];
        assert.equal(narrowed[name], Math.min(limits[name], wish));
      }
    }),
  );
});
