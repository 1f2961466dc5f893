import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { TokenBudget } from './budget.ts';

test('[HOST-07] a call that would not fit is refused before it is made', () => {
  const budget = new TokenBudget({ maxInputTokens: 100, maxOutputTokens: 50 });
  const first = budget.reserve(60);
  assert.deepEqual(first, { inputTokens: 60, outputTokens: 50 });
  budget.settle(first, { inputTokens: 55, outputTokens: 10 });
  assert.throws(() => budget.reserve(46), isTokens);
  assert.deepEqual(budget.reserve(45), { inputTokens: 45, outputTokens: 40 });
});

test('[HOST-07] without output tokens left there is no further call', () => {
  const budget = new TokenBudget({ maxInputTokens: 100, maxOutputTokens: 50 });
  budget.settle(budget.reserve(10), { inputTokens: 10, outputTokens: 50 });
  assert.throws(() => budget.reserve(10), isTokens);
});

test('[HOST-07] what is spent never passes the limit by more than one reservation', () => {
  const call = fc.record({
    estimate: fc.nat({ max: 80 }),
    // A provider may count up to twice what was set aside for it.
    inputShare: fc.double({ min: 0, max: 2, noNaN: true }),
    outputShare: fc.double({ min: 0, max: 2, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 30 }), (calls) => {
      const limits = { maxInputTokens: 200, maxOutputTokens: 100 };
      const budget = new TokenBudget(limits);
      for (const { estimate, inputShare, outputShare } of calls) {
        try {
          const reserved = budget.reserve(estimate);
          budget.settle(reserved, {
            inputTokens: Math.floor(reserved.inputTokens * inputShare),
            outputTokens: Math.floor(reserved.outputTokens * outputShare),
          });
          const { inputTokens, outputTokens } = budget.spent;
          assert.ok(inputTokens <= limits.maxInputTokens + reserved.inputTokens);
          assert.ok(outputTokens <= limits.maxOutputTokens + reserved.outputTokens);
        } catch (reason) {
          assert.ok(isTokens(reason));
        }
      }
    }),
  );
});

function isTokens(reason: unknown): boolean {
  return reason instanceof ZlError && reason.id === 'budget.tokens';
}
