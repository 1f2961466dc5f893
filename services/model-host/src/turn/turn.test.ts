import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { eventually } from '@zerolatency/testing';
import fc from 'fast-check';
import { fakeRecorder } from '../../test/support/fake-toolbox.ts';
import { errorIdOf, namesOf, textOf } from '../../test/support/streams.ts';
import {
  assertNoGap,
  collect,
  runTurn,
  startTurn,
  type TurnBenchOptions,
  turnBench,
} from '../../test/support/turn-bench.ts';
import type { LlmProvider } from '../providers/port.ts';
import type { TurnAsk } from './turns.ts';

const tell = (options: TurnBenchOptions, extra?: Partial<TurnAsk>) =>
  runTurn(turnBench(options), 'go', extra);

const TWO_TOOLS = `
- when: { after: results }
  reply: [{ text: 'got {{result}}' }]
- when: { after: failure }
  reply: [{ text: 'failed: {{error}}' }]
- reply:
    - text: looking
    - toolCalls: [{ tool: a }, { tool: b }]
`;

test("[HOST-02] calls of one step run at once and are reported in the model's order", async () => {
  const bReached = Promise.withResolvers<void>();
  const bench = turnBench({
    rules: TWO_TOOLS,
    tools: {
      // Ends only after b has begun: one at a time would hang.
      a: async () => {
        await bReached.promise;
        return { content: 'A' };
      },
      b: () => {
        bReached.resolve();
        return { content: 'B' };
      },
    },
  });
  const events = await runTurn(bench, 'go');
  assert.deepEqual(namesOf(events), [
    'assistantDelta',
    'usage',
    'toolCallStarted',
    'toolCallStarted',
    'toolCallDone',
    'toolCallDone',
    'assistantDelta',
    'usage',
    'assistantDone',
  ]);
  const told = events.flatMap(({ event }) =>
    event.case === 'toolCallStarted' ? [event.value.tool] : [],
  );
  assert.deepEqual(told, ['a', 'b']);
  assert.deepEqual(bench.toolboxes.log.slice(0, 4), ['prepared a', 'prepared b', 'ran a', 'ran b']);
  assert.equal(bench.recorder.records[0]?.outcome, 'done');
  assert.equal(bench.recorder.records[0]?.callIds.length, 2);
});

test('[HOST-02] whatever order calls end in, the events are the same', async () => {
  const expected = ['started a', 'started b', 'started c', 'done a', 'done b', 'done c'];
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(['a', 'b', 'c'], { minLength: 3 }), async (order) => {
      const gates = new Map(order.map((tool) => [tool, Promise.withResolvers<void>()]));
      gates.get(order[0] ?? '')?.resolve();
      const tool = async ({ tool: name }: { tool: string }) => {
        await gates.get(name)?.promise;
        gates.get(order[order.indexOf(name) + 1] ?? '')?.resolve();
        return {};
      };
      const events = await tell({
        rules: `
- when: { after: results }
  reply: [{ text: ok }]
- reply: [{ toolCalls: [{ tool: a }, { tool: b }, { tool: c }] }]`,
        tools: { a: tool, b: tool, c: tool },
      });
      const ids = new Map<string, string>();
      const told = events.flatMap(({ event }) => {
        if (event.case === 'toolCallStarted') {
          ids.set(event.value.callId, event.value.tool);
          return [`started ${event.value.tool}`];
        }
        return event.case === 'toolCallDone' ? [`done ${ids.get(event.value.callId)}`] : [];
      });
      assert.deepEqual(told, expected);
    }),
    { numRuns: 20 },
  );
});

test('reports a denied or failed call to the model and continues the turn', async () => {
  const events = await tell({
    rules: TWO_TOOLS,
    tools: {
      a: () => {
        throw new ZlError('policy.denied', 'not this one');
      },
      b: () => ({ content: 'B' }),
    },
  });
  const done = events.flatMap(({ event }) => (event.case === 'toolCallDone' ? [event.value] : []));
  assert.equal(done[0]?.error?.id, 'policy.denied');
  assert.notEqual(done[0]?.receiptJson, '');
  const said = events.map(({ event }) => (event.case === 'assistantDelta' ? event.value.text : ''));
  assert.match(said.join(''), /failed: policy\.denied: not this one/);
  assert.equal(events.at(-1)?.event.case, 'assistantDone');
});

test('a provider that fails, or ends in mid-sentence, ends the turn with provider.failed', async () => {
  assert.equal(
    errorIdOf(await tell({ rules: '- reply: [{ text: so }, { fail: overloaded }]' })),
    'provider.failed',
  );
  const silent: LlmProvider = {
    name: 'silent',
    async *stream() {
      yield { type: 'text', text: 'and then' };
    },
  };
  assert.equal(errorIdOf(await tell({ provider: silent })), 'provider.failed');
});

test('an unknown error becomes internal and reveals nothing', async () => {
  const broken: LlmProvider = {
    name: 'broken',
    // biome-ignore lint/correctness/useYield: it fails before its first part.
    async *stream() {
      throw new Error('password=hunter2');
    },
  };
  const last = (await tell({ provider: broken })).at(-1)?.event;
  assert.ok(last?.case === 'error');
  assert.equal(last.value.id, 'internal');
  assert.doesNotMatch(last.value.message, /hunter2/);
});

test('an answer whose record cannot be written is not reported as done', async () => {
  const bench = turnBench({
    rules: '- reply: [{ text: ok }]',
    deps: {
      recorder: {
        ...fakeRecorder(),
        recordTurn: () => Promise.reject(new ZlError('ledger.failed', 'disk full')),
        checkpoint: async () => '',
      },
    },
  });
  assert.equal(errorIdOf(await runTurn(bench, 'go')), 'ledger.failed');
});

test('[HOST-05] a cancel at any event ends the turn as cancelled, with nothing left running', async () => {
  const whole = await tell({ rules: TWO_TOOLS, tools: { a: () => ({}), b: () => ({}) } });
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length - 1 }), async (at) => {
      const bench = turnBench({ rules: TWO_TOOLS, tools: { a: () => ({}), b: () => ({}) } });
      const { turn, events: reading } = startTurn(bench, 'go');
      const events: ChatEvent[] = [];
      if (at === 0) turn.cancel(new ZlError('turn.cancelled', 'enough'));
      for await (const event of reading) {
        events.push(event);
        if (events.length === at) turn.cancel(new ZlError('turn.cancelled', 'enough'));
      }
      await turn.ended;
      assertNoGap(events);
      const ends = namesOf(events).filter((name) => name === 'error' || name === 'assistantDone');
      assert.equal(ends.length, 1);
      assert.equal(ends[0], namesOf(events).at(-1));
      assert.equal(bench.toolboxes.running(), 0);
      assert.equal(bench.turns.running, 0);
      assert.equal(bench.recorder.records.length, 1);
    }),
    { numRuns: 40 },
  );
});

test('[HOST-10] draining refuses new turns and cancels the rest at the deadline', async () => {
  const bench = turnBench({ rules: '- reply: [{ text: a }, { hang: true }]' });
  const running = runTurn(bench, 'go');
  const deadline = new AbortController();
  const drained = bench.turns.drain(deadline.signal);
  assert.throws(() => startTurn(bench, 'more'), /no new turns/);
  deadline.abort();
  await drained;
  assert.equal(errorIdOf(await running), 'server.draining');
  assert.equal(bench.recorder.records[0]?.outcome, 'cancelled');
});

test('[HOST-04] a reader that stalls stops the provider, and later gets every delta', async () => {
  const total = 100_000;
  let produced = 0;
  const bench = turnBench({
    provider: {
      name: 'eager',
      async *stream() {
        for (; produced < total; produced += 1) yield { type: 'text', text: 'a word ' };
        yield { type: 'stop', reason: 'end' };
      },
    },
  });
  const { log, turn, events: reading } = startTurn(bench, 'go');
  // A generator starts with its first reading; the reader has to be there from the start.
  const first = reading.next();
  await eventually(() => log.isFull);
  const producedAtStall = produced;
  await setImmediate();
  assert.equal(produced, producedAtStall);
  // What a reader may be behind, in deltas of seven characters.
  assert.ok(produced < 40_000, `${produced} deltas were taken for a reader that reads none`);
  const { value } = await first;
  assert.ok(value);
  const events = [value, ...(await collect(reading))];
  assertNoGap(events);
  assert.equal(textOf(events).length, total * 'a word '.length);
  assert.ok(events.length < total, 'the deltas of the stall did not merge');
  assert.equal((await turn.ended).state.at, 'done');
});
