import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { type ChatEvent, StopReason } from '@zerolatency/proto/agent';
import { eventually } from '@zerolatency/testing';
import fc from 'fast-check';
import { fakeRecorder } from '../../test/support/fake-toolbox.ts';
import { asks, finish, says } from '../../test/support/replies.ts';
import { errorIdOf, namesOf, textOf } from '../../test/support/streams.ts';
import {
  assertNoGap,
  collect,
  runTurn,
  startTurn,
  type TurnBenchOptions,
  turnBench,
} from '../../test/support/turn-bench.ts';
import type { LlmProvider, ModelRequest } from '../providers/port.ts';
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

test('a provider that fails or ends in mid-sentence ends the turn with provider.interrupted', async () => {
  assert.equal(
    errorIdOf(await tell({ rules: '- reply: [{ text: so }, { fail: overloaded }]' })),
    'provider.interrupted',
  );
  const silent: LlmProvider = {
    name: 'silent',
    async *stream() {
      yield says('and then');
    },
  };
  assert.equal(errorIdOf(await tell({ provider: silent })), 'provider.interrupted');
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
        for (; produced < total; produced += 1) yield says('a word ');
        yield finish();
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

test('[PROV-01] the next request repeats a reply in its order, with the metadata its provider signed', async () => {
  const requests: ModelRequest[] = [];
  const signed = { anthropic: { signature: 'EqQB' } };
  const provider: LlmProvider = {
    name: 'signing',
    async *stream(request) {
      requests.push({ ...request, messages: [...request.messages] });
      if (requests.length > 1) return yield* [says('done'), finish()];
      yield { type: 'reasoning-start', id: '0' };
      yield { type: 'reasoning-delta', id: '0', delta: 'First I ' };
      yield { type: 'reasoning-delta', id: '0', delta: 'look.' };
      yield { type: 'reasoning-delta', id: '0', delta: '', providerMetadata: signed };
      yield { type: 'reasoning-end', id: '0' };
      yield { type: 'text-start', id: '1', providerMetadata: { openai: { itemId: 'msg_1' } } };
      yield { type: 'text-delta', id: '1', delta: 'Looking.' };
      yield { type: 'tool-input-delta', id: 'c', delta: '{"n":1}' };
      const google = { google: { thoughtSignature: 'CiQB' } };
      yield { ...asks('a', '{"n":1}', 'c'), providerMetadata: google };
      yield finish('tool-calls');
    },
  };
  await tell({ provider, tools: { a: () => ({ content: 'A' }) } });
  assert.deepEqual(requests[1]?.messages.slice(1), [
    {
      role: 'assistant',
      content: [
        { type: 'reasoning', text: 'First I look.', providerOptions: signed },
        { type: 'text', text: 'Looking.', providerOptions: { openai: { itemId: 'msg_1' } } },
        {
          type: 'tool-call',
          toolCallId: 'c',
          toolName: 'a',
          input: { n: 1 },
          providerOptions: { google: { thoughtSignature: 'CiQB' } },
        },
      ],
    },
    {
      role: 'tool',
      content: [
        {
          type: 'tool-result',
          toolCallId: 'c',
          toolName: 'a',
          output: { type: 'text', value: '{"content":"A"}' },
        },
      ],
    },
  ]);
});

test('[PROV-02] a reply that a content filter stopped says so, and its calls do not run', async () => {
  const provider: LlmProvider = {
    name: 'filtering',
    async *stream() {
      yield* [says('I '), asks('a'), finish('content-filter')];
    },
  };
  const bench = turnBench({ provider, tools: { a: () => ({}) } });
  const last = (await runTurn(bench, 'go')).at(-1)?.event;
  assert.ok(last?.case === 'assistantDone');
  assert.equal(last.value.reason, StopReason.FILTERED);
  assert.deepEqual(bench.toolboxes.log, []);
});

test('[PROV-02] an interrupted reply fails the turn, whose calls do not run and whose tokens count', async () => {
  const provider: LlmProvider = {
    name: 'breaking',
    async *stream() {
      yield* [says('I '), asks('a'), finish('interrupted', [10, 3])];
    },
  };
  const bench = turnBench({ provider, tools: { a: () => ({}) } });
  assert.equal(errorIdOf(await runTurn(bench, 'go')), 'provider.interrupted');
  assert.deepEqual(bench.toolboxes.log, []);
  const [record] = bench.recorder.records;
  assert.deepEqual([record?.inputTokens, record?.outputTokens], [10, 3]);
  // The contract of turn records knows no other count.
  assert.deepEqual(
    Object.keys(record ?? {})
      .filter((key) => key.endsWith('Tokens'))
      .sort(),
    ['inputTokens', 'outputTokens'],
  );
});

test('[PROV-02] tokens read from and written to a cache add up over the steps of a turn', async () => {
  const usage = {
    inputTokens: { total: 100, cacheRead: 60, cacheWrite: 30 },
    outputTokens: { total: 9, reasoning: 4 },
  };
  const provider: LlmProvider = {
    name: 'caching',
    async *stream({ messages }) {
      yield messages.length === 1 ? asks('a') : says('ok');
      yield { ...finish(), usage };
    },
  };
  const events = await tell({ provider, tools: { a: () => ({}) } });
  const last = events.at(-1)?.event;
  assert.ok(last?.case === 'assistantDone' && last.value.usage);
  const { cachedInputTokens, cacheWriteTokens, reasoningTokens } = last.value.usage;
  assert.deepEqual([cachedInputTokens, cacheWriteTokens, reasoningTokens], [120n, 60n, 8n]);
});

test('[HOST-07] arguments that never end are cut like a text that never ends', async () => {
  let sent = 0;
  const provider: LlmProvider = {
    name: 'endless',
    async *stream() {
      for (; ; sent += 1) yield { type: 'tool-input-delta', id: '1', delta: 'x'.repeat(1000) };
    },
  };
  const bench = turnBench({ provider, tools: { a: () => ({}) } });
  const last = (await runTurn(bench, 'go', { limits: { maxOutputTokens: 1000 } })).at(-1)?.event;
  assert.ok(last?.case === 'assistantDone');
  assert.equal(last.value.reason, StopReason.LENGTH);
  assert.ok(sent < 20);
});
