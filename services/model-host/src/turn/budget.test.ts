import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { TokenBudget, type TokenUsage } from './budget.ts';

test('[HOST-07] a call that would not fit is refused before it is made', () => {
  const budget = new TokenBudget({
    maxInputTokens: 100,
    maxOutputTokens: 50,
    maxCostNanoUsd: Infinity,
  });
  const first = budget.reserve(free(60));
  assert.deepEqual(first, { inputTokens: 60, outputTokens: 50, costNanoUsd: 0 });
  budget.settle(first, { inputTokens: 55, outputTokens: 10 });
  assert.throws(() => budget.reserve(free(46)), isTokens);
  assert.deepEqual(budget.reserve(free(45)), { inputTokens: 45, outputTokens: 40, costNanoUsd: 0 });
});

test('[HOST-07] without output tokens left there is no further call', () => {
  const budget = new TokenBudget({
    maxInputTokens: 100,
    maxOutputTokens: 50,
    maxCostNanoUsd: Infinity,
  });
  budget.settle(budget.reserve(free(10)), { inputTokens: 10, outputTokens: 50 });
  assert.throws(() => budget.reserve(free(10)), isTokens);
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
      const limits = { maxInputTokens: 200, maxOutputTokens: 100, maxCostNanoUsd: Infinity };
      const budget = new TokenBudget(limits);
      for (const { estimate, inputShare, outputShare } of calls) {
        try {
          const reserved = budget.reserve(free(estimate));
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

test('[HOST-07] a cost limit is never passed by more than one reservation, nested turns included', () => {
  const call = fc.record({
    estimate: fc.nat({ max: 80 }),
    isNested: fc.boolean(),
    inputShare: fc.double({ min: 0, max: 2, noNaN: true }),
    outputShare: fc.double({ min: 0, max: 2, noNaN: true }),
  });
  const prices = fc.record({ input: fc.nat({ max: 50 }), output: fc.nat({ max: 200 }) });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 30 }), prices, (calls, price) => {
      const costOf = ({ inputTokens, outputTokens }: TokenUsage) =>
        inputTokens * price.input + outputTokens * price.output;
      const limits = { maxInputTokens: 1000, maxOutputTokens: 500, maxCostNanoUsd: 20_000 };
      const outer = new TokenBudget(limits);
      for (const { estimate, isNested, inputShare, outputShare } of calls) {
        const budget = isNested ? new TokenBudget(outer.shareAmong(2)) : outer;
        try {
          const reserved = budget.reserve({ model: 'm', inputTokens: estimate, costOf });
          assert.ok(budget.spentInAll.costNanoUsd <= limits.maxCostNanoUsd);
          assert.ok(costOf(reserved) <= reserved.costNanoUsd);
          const used = {
            inputTokens: Math.floor(reserved.inputTokens * inputShare),
            outputTokens: Math.floor(reserved.outputTokens * outputShare),
          };
          budget.settle(reserved, { ...used, costNanoUsd: costOf(used) });
          if (isNested) outer.chargeNested(budget.spentInAll);
          const most = limits.maxCostNanoUsd + reserved.costNanoUsd;
          assert.ok(outer.spentInAll.costNanoUsd <= most);
        } catch (reason) {
          assert.ok(isTokens(reason) || isCost(reason), String(reason));
        }
      }
    }),
  );
});

test('[HOST-07] a cost limit cuts the output of a call to what is left', () => {
  const costOf = ({ inputTokens, outputTokens }: TokenUsage) => inputTokens + 10 * outputTokens;
  const limits = { maxInputTokens: 1000, maxOutputTokens: 1000, maxCostNanoUsd: 1000 };
  const ask = (inputTokens: number, maxOutputTokens?: number) =>
    new TokenBudget(limits).reserve({ model: 'm', inputTokens, maxOutputTokens, costOf });
  assert.deepEqual(ask(100), { inputTokens: 100, outputTokens: 90, costNanoUsd: 1000 });
  assert.deepEqual(ask(100, 20), { inputTokens: 100, outputTokens: 20, costNanoUsd: 300 });
  assert.throws(() => ask(995), isCost);
  const unpriced = { model: 'gpt-9 of lab', inputTokens: 1, costOf: () => undefined };
  assert.throws(() => new TokenBudget(limits).reserve(unpriced), {
    id: 'budget.unpriced',
    message: /pricesFile has gpt-9 of lab/,
  });
});

function free(inputTokens: number) {
  return { model: 'm', inputTokens, costOf: () => undefined };
}

function isCost(reason: unknown): boolean {
  return reason instanceof ZlError && reason.id === 'budget.cost';
}

function isTokens(reason: unknown): boolean {
  return reason instanceof ZlError && reason.id === 'budget.tokens';
}
