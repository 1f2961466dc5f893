import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { eventually } from '@zerolatency/testing';
import fc from 'fast-check';
import type { FakeTool } from '../../test/support/fake-toolbox.ts';
import { asks, finish, saidIn, says } from '../../test/support/replies.ts';
import { errorIdOf, textOf } from '../../test/support/streams.ts';
import {
  collect,
  GENEROUS_LIMITS,
  runTurn,
  startTurn,
  type TurnBenchOptions,
  turnBench,
} from '../../test/support/turn-bench.ts';
import type { LlmProvider } from '../providers/port.ts';
import type { Prices } from '../providers/prices.ts';
import { NOTHING_SPENT, TokenBudget } from './budget.ts';
import { nestedTurns } from './nested-turns.ts';

// The person asks the agent, the agent looks something up, and both report what they heard.
const RULES = `
- when: { after: failure }
  reply: [{ text: 'failed: {{error}}' }]
- when: { after: results }
  reply: [{ text: 'heard {{result}}' }]
- when: { text: '^delegate (?<task>.*)' }
  reply: [{ toolCalls: [{ tool: agent, arguments: { task: '{{task}}' } }] }]
- when: { text: '^look' }
  reply: [{ toolCalls: [{ tool: look }] }]
- when: { text: '^hang' }
  reply: [{ hang: true }]
- reply: [{ text: 'plain answer' }]`;

/** An agent offered as a tool: its call runs a turn of its own. */
const agent: FakeTool = async ({ arguments: { task }, signal, startTurn: start }) => {
  const { text, error } = (await start?.({ text: String(task) }, signal)) ?? {};
  if (error !== undefined) throw error;
  return { content: text };
};

function bench(options: Partial<TurnBenchOptions> = {}) {
  return turnBench({
    rules: RULES,
    tools: { agent, look: () => ({ content: 'a tree' }) },
    ...options,
  });
}

function callErrors(events: readonly ChatEvent[]): (string | undefined)[] {
  return events.flatMap(({ event }) =>
    event.case === 'toolCallDone' ? [event.value.error?.id] : [],
  );
}

test('[HOST-07] a nested turn calls tools up to max_tool_depth', async () => {
  const limits = { ...GENEROUS_LIMITS, maxToolDepth: 2 };
  const world = bench({ deps: { limits } });
  const events = await runTurn(world, 'delegate look around');
  assert.equal(textOf(events), 'heard heard a tree');
  assert.deepEqual(callErrors(events), [undefined, undefined]);
  assert.ok(world.toolboxes.log.includes('ran look'));
});

test('[HOST-07] a nested turn at max_tool_depth is refused its tool calls with budget.depth', async () => {
  const world = bench();
  const events = await runTurn(world, 'delegate look around', { limits: { maxToolDepth: 1 } });
  assert.deepEqual(callErrors(events), ['budget.depth']);
  assert.match(textOf(events), /^failed: budget\.depth/);
  assert.equal(world.toolboxes.log.includes('ran look'), false);
  assert.equal(events.at(-1)?.event.case, 'assistantDone');
  assert.deepEqual(
    world.recorder.records.map(({ errorId }) => errorId),
    ['budget.depth', undefined],
  );
});

test('[HOST-07] a nested turn that calls no tool may answer at the limit', async () => {
  const events = await runTurn(bench(), 'delegate talk', { limits: { maxToolDepth: 1 } });
  assert.equal(textOf(events), 'heard plain answer');
});

test('[HOST-07] agents that start agents end at max_tool_depth', async () => {
  const world = bench();
  const task = `${'delegate '.repeat(6)}look`;
  const events = await runTurn(world, task, { limits: { maxToolDepth: 1 } });
  const records = world.recorder.records.map(({ errorId }) => errorId);
  assert.deepEqual(records, ['budget.depth', undefined]);
  assert.equal(events.at(-1)?.event.case, 'assistantDone');
});

test('a nested turn acts for the same person on the same device, as a turn of its own', async () => {
  const world = bench();
  await runTurn(world, 'delegate talk', { turnId: 'outer' });
  const [nested, outer] = world.recorder.records.map(({ scope }) => scope);
  const { turnId, ...shared } = nested!;
  assert.equal(outer?.turnId, 'outer');
  assert.notEqual(turnId, 'outer');
  assert.deepEqual({ ...shared, turnId: 'outer' }, outer);
});

test('[HOST-07] nested turns share the call counts of the outer turn, and other turns do not', async () => {
  const world = bench();
  await runTurn(world, 'delegate talk');
  await runTurn(world, 'look');
  const [outer, nested, next] = world.toolboxes.counts;
  assert.ok(outer !== undefined && next !== undefined);
  assert.equal(nested, outer);
  assert.notEqual(next, outer);
});

test('[PROV-02] the cost of a turn includes the turns nested in it, and is unknown if theirs is', async () => {
  const costs = async (costOf: Prices['costOf']) => {
    const events = await runTurn(bench({ deps: { prices: { costOf } } }), 'delegate talk');
    return events.flatMap(({ event }) =>
      event.case === 'usage' || event.case === 'assistantDone'
        ? [(event.case === 'usage' ? event.value : event.value.usage)?.cost]
        : [],
    );
  };
  const known = await costs(() => 400_000_000);
  assert.deepEqual(
    known.map((cost) => cost && [cost.currencyCode, cost.units, cost.nanos]),
    [
      ['USD', 0n, 400_000_000],
      ['USD', 0n, 400_000_000],
      ['USD', 1n, 200_000_000],
    ],
  );
  let calls = 0;
  // The second of the three model calls is that of the nested turn.
  const partly = await costs(() => (++calls === 2 ? undefined : 5));
  assert.deepEqual(
    partly.map((cost) => cost?.nanos),
    [5, 5, undefined],
  );
});

/** Each reply costs 40 output tokens and 10 input tokens. */
const costly: LlmProvider = {
  name: 'costly',
  async *stream({ messages }) {
    const last = messages.at(-1);
    if (saidIn(last) === 'go') {
      yield asks('agent', '{"task":"talk"}', '1');
      yield asks('agent', '{"task":"talk"}', '2');
    } else yield says('ok');
    yield finish('stop', [10, 40]);
  },
};

test('[HOST-07] nested turns spend the budget of the outer turn, which reports what all of them spent', async () => {
  const world = bench({ provider: costly });
  const events = await runTurn(world, 'go', { limits: { maxOutputTokens: 1000 } });
  const done = events.at(-1)?.event;
  assert.ok(done?.case === 'assistantDone');
  assert.equal(done.value.usage?.outputTokens, 160n);
  assert.deepEqual(
    world.recorder.records.map(({ outputTokens }) => outputTokens),
    [40, 40, 80],
  );
});

test('[HOST-07] two nested turns at once cannot spend more than is left', async () => {
  const requests: number[] = [];
  const counting: LlmProvider = {
    name: 'counting',
    stream: (request, signal) => {
      requests.push(request.maxOutputTokens);
      return costly.stream(request, signal);
    },
  };
  const events = await runTurn(bench({ provider: counting }), 'go', {
    limits: { maxOutputTokens: 120 },
  });
  assert.deepEqual(requests, [120, 40, 40]);
  assert.equal(errorIdOf(events), 'budget.tokens');
});

test('[HOST-05] cancelling the outer turn cancels the nested one', async () => {
  const world = bench();
  const { turn, events } = startTurn(world, 'delegate hang');
  const read = (async () => {
    for await (const _ of events);
  })();
  await eventually(() => world.toolboxes.running() === 1);
  turn.cancel(new ZlError('turn.cancelled', 'enough'));
  await turn.ended;
  await read;
  assert.deepEqual(
    world.recorder.records.map(({ outcome }) => outcome),
    ['cancelled', 'cancelled'],
  );
  assert.equal(world.toolboxes.running(), 0);
});

test('[HOST-07] turns that one call starts at once share what the call may spend', async () => {
  const crowd: FakeTool = async ({ signal, startTurn: start }) => {
    const ended = await Promise.all(['a', 'b', 'c'].map((task) => start!({ text: task }, signal)));
    return { content: ended.map(({ outcome, error }) => error?.id ?? outcome).join() };
  };
  const world = bench({ provider: costly, tools: { agent: crowd } });
  const events = await runTurn(world, 'go', { limits: { maxOutputTokens: 400 } });
  const spent = world.recorder.records.map(({ outputTokens }) => outputTokens);
  assert.equal(events.at(-1)?.event.case, 'assistantDone');
  assert.deepEqual(spent, [0, 0, 0, 0, 40, 40, 80]);
});

test('[HOST-07] a nested turn that fails charges the outer turn for what it spent', async () => {
  const failing: LlmProvider = {
    name: 'failing',
    async *stream(request, signal) {
      const last = request.messages.at(-1);
      if (last?.role !== 'user' || saidIn(last) === 'go')
        return yield* costly.stream(request, signal);
      yield finish('interrupted', [10, 30]);
    },
  };
  const events = await runTurn(bench({ provider: failing }), 'go');
  const done = events.at(-1)?.event;
  assert.ok(done?.case === 'assistantDone');
  assert.equal(done.value.usage?.outputTokens, 140n);
});

test('[AUD-01] the record of a nested turn names the call that started it', async () => {
  const world = bench();
  await runTurn(world, 'delegate talk');
  const [nested, outer] = world.recorder.records;
  assert.deepEqual(outer?.callIds, [nested?.parentCallId]);
  assert.equal(outer?.parentCallId, undefined);
});

test('[HOST-05] cancelling the outer turn while the nested one runs a tool ends both', async () => {
  const stuck: FakeTool = ({ signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const limits = { ...GENEROUS_LIMITS, maxToolDepth: 2 };
  const world = bench({ tools: { agent, look: stuck }, deps: { limits } });
  const { turn, events } = startTurn(world, 'delegate look');
  const read = collect(events);
  await eventually(() => world.toolboxes.running() === 2);
  turn.cancel(new ZlError('turn.cancelled', 'enough'));
  await turn.ended;
  assert.equal(errorIdOf(await read), 'turn.cancelled');
  const outcomes = world.recorder.records.map(({ outcome }) => outcome);
  assert.deepEqual(outcomes, ['cancelled', 'cancelled']);
  assert.equal(world.toolboxes.running(), 0);
});

test('[HOST-07] however the turns of one call overlap, together they spend no more than its share', async () => {
  const spentShares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(spentShares, fc.scheduler(), async (shares, schedule) => {
      const budget = new TokenBudget({
        ...{ maxInputTokens: 5000, maxOutputTokens: 3000, maxCostNanoUsd: 60_000 },
      });
      let unused = 1000;
      let unusedNanoUsd = 20_000;
      const start = nestedTurns({
        share: {
          ...{ maxInputTokens: 2000, maxOutputTokens: unused, maxCostNanoUsd: unusedNanoUsd },
        },
        budget,
        async run({ text }, { maxOutputTokens: left, maxCostNanoUsd: leftNanoUsd }) {
          unused -= left;
          unusedNanoUsd -= leftNanoUsd;
          assert.ok(unused >= 0 && unusedNanoUsd >= 0);
          const outputTokens = Math.floor(left * Number(text));
          const costNanoUsd = Math.floor(leftNanoUsd * Number(text));
          await schedule.schedule(Promise.resolve());
          unused += left - outputTokens;
          unusedNanoUsd += leftNanoUsd - costNanoUsd;
          const usage = { ...NOTHING_SPENT, outputTokens, costNanoUsd };
          const end = { happened: 'nothing', messages: [], answer: '', usage } as const;
          return { ...end, state: { at: 'done', step: 1 } };
        },
      });
      const signal = new AbortController().signal;
      const running = shares.map((share) => start({ text: String(share) }, signal));
      await schedule.waitAll();
      await Promise.all(running);
      assert.equal(budget.spentInAll.outputTokens, 1000 - unused);
      assert.equal(budget.spentInAll.costNanoUsd, 20_000 - unusedNanoUsd);
    }),
  );
});
