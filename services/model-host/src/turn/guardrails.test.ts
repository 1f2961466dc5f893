import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asks, finish, says } from '../../test/support/replies.ts';
import { errorIdOf, namesOf } from '../../test/support/streams.ts';
import { runTurn, type TurnBenchOptions, turnBench } from '../../test/support/turn-bench.ts';
import type { LlmProvider, ModelRequest } from '../providers/port.ts';
import type { TurnAsk } from './turns.ts';

const tell = (options: TurnBenchOptions, extra?: Partial<TurnAsk>) =>
  runTurn(turnBench(options), 'go', extra);

test('[HOST-07] a tool result is cut for the model, and whole for the client', async () => {
  const requests: ModelRequest[] = [];
  const events = await tell({
    provider: recording(requests, { asksFirst: true }),
    tools: { a: () => ({ content: 'ä'.repeat(5000) }) },
  });
  const last = requests.at(-1)?.messages.at(-1);
  assert.ok(last?.role === 'tool');
  assert.ok(Buffer.byteLength(last.content[0]?.output.value ?? '') < 1100);
  assert.match(last.content[0]?.output.value ?? '', /\[cut: \d+ of \d+ bytes shown\]$/);
  assert.doesNotMatch(last.content[0]?.output.value ?? '', /\uFFFD/);
  const done = events.find(({ event }) => event.case === 'toolCallDone')?.event;
  assert.ok(done?.case === 'toolCallDone' && done.value.resultJson.length > 5000);
});

test('[HOST-08] reports unreadable arguments to the model and accepts its second try', async () => {
  const events = await tell({
    rules: `
- when: { after: results }
  reply: [{ text: ok }]
- when: { text: 'could not be read' }
  reply: [{ toolCalls: [{ tool: a }] }]
- reply: [{ toolCalls: [{ tool: a, argumentsText: '{"path":' }] }]`,
    tools: { a: () => ({}) },
  });
  assert.equal(events.at(-1)?.event.case, 'assistantDone');
  assert.equal(namesOf(events).filter((name) => name === 'toolCallStarted').length, 1);
});

test('[HOST-08] ends the turn when the arguments are still unreadable after two more tries', async () => {
  const bench = turnBench({
    rules: `- reply: [{ toolCalls: [{ tool: a, argumentsText: '[]' }] }]`,
    tools: { a: () => ({}) },
  });
  assert.equal(errorIdOf(await runTurn(bench, 'go')), 'provider.unparsable');
  assert.deepEqual(bench.toolboxes.log, []);
  assert.equal(bench.recorder.records[0]?.steps, 3);
});

test('[HOST-07] a model that always wants tools ends at max_steps', async () => {
  const bench = turnBench({
    rules: `- reply: [{ toolCalls: [{ tool: a }] }]`,
    tools: { a: () => ({}) },
  });
  const events = await runTurn(bench, 'go', { limits: { maxSteps: 3 } });
  assert.equal(errorIdOf(events), 'budget.steps');
  assert.equal(bench.toolboxes.log.filter((line) => line === 'ran a').length, 2);
});

test('[HOST-07] tools do not run when no tokens are left for their results', async () => {
  const bench = turnBench({
    rules: `
- reply:
    - toolCalls: [{ tool: a }]
    - usage: { inputTokens: 5, outputTokens: 40 }`,
    tools: { a: () => ({}) },
  });
  const events = await runTurn(bench, 'go', { limits: { maxOutputTokens: 40 } });
  assert.equal(errorIdOf(events), 'budget.tokens');
  assert.deepEqual(bench.toolboxes.log, []);
});

test('[HOST-07] more calls at once than allowed are not run', async () => {
  const calls = Array.from({ length: 5 }, () => '{ tool: a }').join(', ');
  const bench = turnBench({
    rules: `- reply: [{ toolCalls: [${calls}] }]`,
    tools: { a: () => ({}) },
  });
  assert.equal(errorIdOf(await runTurn(bench, 'go')), 'provider.unparsable');
  assert.deepEqual(bench.toolboxes.log, []);
});

test('[HOST-07] a turn that takes too long ends with budget.time, its provider and calls stopped', async () => {
  const hanging = turnBench({ rules: '- reply: [{ text: a }, { hang: true }]' });
  assert.equal(
    errorIdOf(await runTurn(hanging, 'go', { limits: { timeoutMs: 20 } })),
    'budget.time',
  );
  const bench = turnBench({
    rules: '- reply: [{ toolCalls: [{ tool: a }] }]',
    tools: {
      a: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    },
  });
  const events = await runTurn(bench, 'go', { limits: { timeoutMs: 20 } });
  assert.equal(errorIdOf(events), 'budget.time');
  assert.ok(namesOf(events).includes('toolCallDone'));
  assert.equal(bench.toolboxes.running(), 0);
  assert.equal(bench.recorder.records[0]?.errorId, 'budget.time');
});

test('[HOST-07] cuts the reply of a provider that ignores its token limit, and reports the reason', async () => {
  const events = await tell(
    { rules: '- reply: [{ text: { value: "word ", repeat: 100000 } }]' },
    { limits: { maxOutputTokens: 100 } },
  );
  const last = events.at(-1)?.event;
  assert.ok(last?.case === 'assistantDone');
  assert.equal(last.value.reason, 2);
  assert.ok(Number(last.value.usage?.outputTokens) <= 210);
});

test('[HOST-07] a conversation that is too long for the input budget never reaches the model', async () => {
  const requests: ModelRequest[] = [];
  const bench = turnBench({ provider: recording(requests, { asksFirst: false }) });
  const events = await runTurn(bench, 'word '.repeat(1000), { limits: { maxInputTokens: 100 } });
  assert.equal(errorIdOf(events), 'budget.tokens');
  assert.equal(requests.length, 0);
  assert.equal(bench.recorder.records[0]?.errorId, 'budget.tokens');
});

/** Asks for the tool `a` first if told so, then says "ok"; keeps the requests. */
function recording(requests: ModelRequest[], { asksFirst }: { asksFirst: boolean }): LlmProvider {
  return {
    name: 'recording',
    async *stream(request) {
      requests.push({ ...request, messages: [...request.messages] });
      if (asksFirst && requests.length === 1) {
        yield asks('a');
      } else yield says('ok');
      yield finish();
    },
  };
}
