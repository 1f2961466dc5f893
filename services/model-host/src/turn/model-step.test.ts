import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { asks, finish, says } from '../../test/support/replies.ts';
import { GENEROUS_LIMITS, modelsOf } from '../../test/support/turn-bench.ts';
import type { Target } from '../providers/models.ts';
import type { LlmProvider, ModelMessage, ModelPart } from '../providers/port.ts';
import type { ModelTarget, PricedUsage, Prices } from '../providers/prices.ts';
import { TokenBudget, type TokenUsage } from './budget.ts';
import { runModelStep } from './model-step.ts';
import { TurnLog } from './turn-log.ts';

const STOP = finish();
const START: ModelPart = { type: 'text-start', id: 'text' };
const CALL = asks('fs.read');

function providerOf(stream: LlmProvider['stream']): LlmProvider {
  return { name: 'test', stream };
}

async function told(
  provider: LlmProvider,
  signal = AbortSignal.any([]),
  messages: readonly ModelMessage[] = [],
  events?: TurnLog,
): Promise<string[]> {
  const told: string[] = [];
  await runModelStep(stepOf(provider, { told, messages, ...(events && { events }) }), signal).catch(
    () => {},
  );
  return told;
}

const FREE: Pick<Prices, 'costOf'> = { costOf: () => 0 };

function stepOf(
  provider: LlmProvider,
  {
    told = [],
    messages = [],
    prices = FREE,
    events = new TurnLog({ sessionId: 's', turnId: 't' }),
    onCharged = () => {},
  }: {
    told?: string[];
    messages?: readonly ModelMessage[];
    prices?: Pick<Prices, 'costOf'>;
    events?: TurnLog;
    onCharged?: (costNanoUsd: number | undefined) => void;
  },
) {
  return {
    model: modelsOf({ fast: { provider: 'p', model: 'm' } }, { p: provider }).resolve('', ''),
    retries: { rounds: 0, maxWaitMs: 0 },
    deadlineMs: Infinity,
    mayReplaceText: false,
    request: { tenant: 'north', system: '', messages, tools: [] },
    budget: new TokenBudget(GENEROUS_LIMITS),
    prices,
    reserve: async ({ outputTokens }: TokenUsage) => ({ outputTokens, settle() {} }),
    events,
    answersStand: Promise.resolve(true),
    onFirstText: () => told.push('first text'),
    observer: {
      providerBegan({ model }: Target, seconds: number) {
        assert.equal(model, 'm');
        assert.ok(seconds >= 0);
        told.push('began');
      },
      charged: (_target: ModelTarget, costNanoUsd: number | undefined) => onCharged(costNanoUsd),
      providerEnded: (_target: Target, outcome: string, errorId: string) =>
        told.push(`${outcome} ${errorId}`),
      fellBack: () => assert.fail('there is one target'),
    },
  };
}

test('[OBS-02] a reply begins with its first text or tool call, once, and ends once', async () => {
  const text = says('hello');
  const saying = (...parts: ModelPart[]) =>
    providerOf(async function* () {
      yield* parts;
    });
  assert.deepEqual(await told(saying(START, text, text, CALL, STOP)), [
    'first text',
    'began',
    'done none',
  ]);
  assert.deepEqual(await told(saying(CALL, text, STOP)), ['began', 'first text', 'done none']);
  assert.deepEqual(await told(saying(START, STOP)), ['done none']);
  assert.deepEqual(await told(saying(text)), [
    'first text',
    'began',
    'failed provider.interrupted',
  ]);
});

test("[OBS-02] distinguishes a provider's error from a cancel", async () => {
  const failing = providerOf(async function* () {
    yield START;
    throw new ZlError('provider.failed', 'overloaded');
  });
  assert.deepEqual(await told(failing), ['failed provider.interrupted']);
  const ending = new AbortController();
  const hanging = providerOf(async function* () {
    yield CALL;
    ending.abort(new ZlError('turn.cancelled', 'the client left'));
    await Promise.withResolvers<void>().promise;
  });
  assert.deepEqual(await told(hanging, ending.signal), ['began', 'cancelled turn.cancelled']);
});

test('a message is estimated once, however many model calls send it', async () => {
  let reads = 0;
  const message: ModelMessage = {
    role: 'user',
    get content() {
      reads++;
      return [{ type: 'text' as const, text: 'hello' }];
    },
  };
  const answering = providerOf(async function* () {
    yield STOP;
  });
  for (let call = 0; call < 3; call++) await told(answering, undefined, [message]);
  assert.equal(reads, 1);
});

test('[PROV-02] a reply is charged once it has begun, and a refusal is not', async () => {
  const charges: (number | undefined)[] = [];
  const spentOn = async (prices: Pick<Prices, 'costOf'>, stream: LlmProvider['stream']) => {
    const onCharged = (costNanoUsd: number | undefined) => charges.push(costNanoUsd);
    const step = stepOf(providerOf(stream), { prices, onCharged });
    await runModelStep(step, AbortSignal.any([])).catch(() => {});
    return step.budget.spent;
  };
  const perToken = {
    costOf: (_target: ModelTarget, usage: PricedUsage) =>
      usage.inputTokens * 3 + usage.outputTokens,
  };
  const answered = await spentOn(perToken, async function* () {
    yield finish('stop', [10, 2]);
  });
  assert.equal(answered.costNanoUsd, 32);
  const refused = await spentOn(perToken, async function* () {
    yield* [];
    throw new ZlError('provider.throttled', 'busy');
  });
  assert.equal(refused.costNanoUsd, 0);
  const interrupted = await spentOn(perToken, async function* () {
    yield says('hello there');
    throw new ZlError('provider.interrupted', 'cut');
  });
  assert.ok(interrupted.costNanoUsd > 0);
  const unknown = await spentOn({ costOf: () => undefined }, async function* () {
    yield STOP;
  });
  assert.deepEqual([unknown.costNanoUsd, unknown.unpricedCalls], [0, 1]);
  assert.deepEqual(charges, [32, interrupted.costNanoUsd, undefined]);
});

test('a count that no provider can have made is replaced by an estimate', async () => {
  for (const total of [1.5, -1, Number.NaN, 2 ** 60]) {
    const step = stepOf(
      providerOf(async function* () {
        yield says('four');
        yield finish('stop', [total, total]);
      }),
      {},
    );
    await runModelStep(step, AbortSignal.any([]));
    assert.equal(step.budget.spent.outputTokens, 1);
  }
});

test('[HOST-03] the first delta of a burst reaches the sockets before the second is read', async () => {
  const bursting = providerOf(async function* () {
    for (let delta = 0; delta < 500; delta++) yield says('hi');
    yield STOP;
  });
  const events = new TurnLog({ sessionId: 's', turnId: 't' });
  // Node writes to sockets at the end of a turn of the event loop.
  let inFirstTurn = 0;
  const onAppend = () => {
    if (events.nextSequence === 2) setImmediate(() => (inFirstTurn = events.nextSequence - 1));
  };
  events.attach({ takenBytes: 0, onAppend });
  await told(bursting, undefined, [], events);
  assert.equal(inFirstTurn, 1);
});

test('a burst that keeps the event loop busy lets sockets be served in between', async () => {
  let served = 0;
  const serve = () => {
    served += 1;
    next = setImmediate(serve);
  };
  let next = setImmediate(serve);
  const slow = providerOf(async function* () {
    for (let delta = 0; delta < 10; delta++) {
      for (const startedMs = performance.now(); performance.now() - startedMs < 5; );
      yield says('hi');
    }
    yield STOP;
  });
  await told(slow);
  clearImmediate(next);
  assert.ok(served >= 5, `${served} turns of the event loop in ten deltas of 5 ms`);
});
