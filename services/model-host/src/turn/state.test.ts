import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import type { TurnLimits } from './budget.ts';
import { narrowLimits } from './budget.ts';
import { ADMITTED, isEnd, MAX_REPROMPTS, stepOf, type TurnInput, transition } from './state.ts';

const LIMITS: TurnLimits = {
  maxSteps: 3,
  maxToolDepth: 1,
  timeoutMs: 1000,
  maxInputTokens: 100,
  maxCostNanoUsd: Number.POSITIVE_INFINITY,
  maxOutputTokens: 100,
};
const cancelled = new ZlError('turn.cancelled', 'gone');

function run(inputs: readonly TurnInput[], with_: TurnLimits = LIMITS) {
  return inputs.reduce((state, input) => transition(state, input, with_), ADMITTED);
}

const BEGIN: TurnInput = { type: 'begin' };
const ASKED: TurnInput = { type: 'asked', calls: 1, depth: 1 };
const ACTED: TurnInput = { type: 'acted' };
const ANSWERED: TurnInput = { type: 'answered' };
const RECORDED: TurnInput = { type: 'recorded' };
const UNPARSABLE: TurnInput = { type: 'unparsable', reason: 'not JSON' };

test('[HOST-02] a turn plans, acts, reflects and responds, and each model call is a step', () => {
  assert.deepEqual(run([BEGIN]), { at: 'planning', step: 1, reprompts: 0 });
  assert.deepEqual(run([BEGIN, ASKED]), { at: 'acting', step: 1, calls: 1 });
  assert.deepEqual(run([BEGIN, ASKED, ACTED]), { at: 'reflecting', step: 2, reprompts: 0 });
  assert.deepEqual(run([BEGIN, ASKED, ACTED, ANSWERED]), { at: 'responding', step: 2 });
  assert.deepEqual(run([BEGIN, ASKED, ACTED, ANSWERED, RECORDED]), { at: 'done', step: 2 });
});

test('[HOST-02] with a critic an answer is judged before it is recorded, and each retry is a step', () => {
  const critic = { model: 'strict', otherwise: 'accept' } as const;
  const judged: TurnInput = { type: 'answered', critic };
  const rejected: TurnInput = { type: 'rejected' };
  assert.deepEqual(run([BEGIN, judged]), { at: 'critiquing', step: 1, critic });
  assert.deepEqual(run([BEGIN, judged, { type: 'accepted' }]), { at: 'responding', step: 1 });
  const again = run([BEGIN, judged, rejected]);
  assert.deepEqual(again, { at: 'reflecting', step: 2, reprompts: 0 });
  const last = run([BEGIN, judged, rejected, judged, rejected, judged, rejected]);
  assert.ok(last.at === 'failed' && last.error.id === 'budget.steps');
});

test('a call without a model acts and responds in no step', () => {
  assert.deepEqual(run([ASKED]), { at: 'acting', step: 0, calls: 1 });
  assert.deepEqual(run([ASKED, ANSWERED, RECORDED]), { at: 'done', step: 0 });
});

test('[HOST-07] tools whose results no model call could see do not run', () => {
  const state = run([BEGIN, ASKED, ACTED, ASKED, ACTED, ASKED]);
  assert.ok(state.at === 'failed' && state.error.id === 'budget.steps');
});

test('[HOST-07] calls nested deeper than max_tool_depth do not run', () => {
  const state = run([BEGIN, { type: 'asked', calls: 1, depth: 2 }]);
  assert.ok(state.at === 'failed' && state.error.id === 'budget.depth');
});

test('[HOST-08] prompts a model again twice when its calls are unreadable, then fails the turn', () => {
  const tries = Array.from({ length: MAX_REPROMPTS }, () => UNPARSABLE);
  const patient = { ...LIMITS, maxSteps: 10 };
  assert.equal(run([BEGIN, ...tries], patient).at, 'planning');
  const state = run([BEGIN, ...tries, UNPARSABLE], patient);
  assert.ok(state.at === 'failed' && state.error.id === 'provider.unparsable');
});

test('a client that left or a stopping pod cancels the turn; any other error fails it', () => {
  const ends = (id: ConstructorParameters<typeof ZlError>[0]) =>
    run([BEGIN, { type: 'stopped', error: new ZlError(id, '') }]).at;
  assert.equal(ends('turn.cancelled'), 'cancelled');
  assert.equal(ends('server.draining'), 'cancelled');
  assert.equal(ends('budget.time'), 'failed');
  assert.equal(ends('provider.failed'), 'failed');
});

const inputs = fc.oneof(
  fc.constantFrom(BEGIN, ACTED, ANSWERED, RECORDED, UNPARSABLE),
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
          state = transition(before, input, LIMITS);
        } catch (reason) {
          assert.ok(reason instanceof ZlError && reason.id === 'internal');
          continue;
        }
        assert.ok(stepOf(state) <= LIMITS.maxSteps);
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
          state = transition(state, input, LIMITS);
        } catch {
          // Illegal here; the property above looks at that.
        }
      }
      const stopped = transition(state, { type: 'stopped', error: cancelled }, LIMITS);
      assert.ok(isEnd(stopped));
      if (!isEnd(state)) assert.equal(stopped.at, 'cancelled');
    }),
  );
});

test('[HOST-07] a client narrows the limits and never widens them', () => {
  const key = fc.constantFrom(...(Object.keys(LIMITS) as (keyof TurnLimits)[]));
  fc.assert(
    fc.property(fc.dictionary(key, fc.nat({ max: 2000 })), (wished) => {
      const narrowed = narrowLimits(LIMITS, wished);
      for (const name of Object.keys(LIMITS) as (keyof TurnLimits)[]) {
        const wish = wished[name] || LIMITS[name];
        assert.equal(narrowed[name], Math.min(LIMITS[name], wish));
      }
    }),
  );
});
