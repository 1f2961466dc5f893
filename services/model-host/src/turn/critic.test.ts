import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { CritiqueVerdict } from '@zerolatency/proto/agent';
import { finish, says } from '../../test/support/replies.ts';
import { errorIdOf, textOf } from '../../test/support/streams.ts';
import { modelsOf, runTurn, startTurn, turnBench } from '../../test/support/turn-bench.ts';
import type { LlmProvider, ModelRequest } from '../providers/port.ts';

type Reply = string | Error;

/** A model that answers, and its critic, each with its replies in order; the last one repeats. */
function judged(answers: readonly Reply[], verdicts: readonly Reply[], otherwise = 'accept') {
  const asked = { writer: [] as ModelRequest[], critic: [] as ModelRequest[] };
  const from = (all: readonly Reply[], seen: ModelRequest[], request: ModelRequest) => {
    seen.push({ ...request, messages: [...request.messages] });
    return all[Math.min(seen.length, all.length) - 1] ?? '';
  };
  const provider: LlmProvider = {
    name: 'mock',
    async *stream(request) {
      const isCritic = request.model === 'critic';
      const reply = isCritic
        ? from(verdicts, asked.critic, request)
        : from(answers, asked.writer, request);
      if (reply instanceof Error) throw reply;
      yield says(reply);
      yield finish('stop', [10, 5]);
    },
  };
  const target = { provider: 'mock', model: 'writer', critic: { model: 'strict', otherwise } };
  const aliases = { mock: target, strict: { provider: 'mock', model: 'critic' } };
  const models = modelsOf(aliases as Parameters<typeof modelsOf>[0], { mock: provider });
  return { asked, bench: turnBench({ provider, deps: { models } }) };
}

async function outcomeOf(world: ReturnType<typeof judged>, limits = {}) {
  const events = await runTurn(world.bench, 'how many?', { limits });
  const critiques = events.flatMap(({ event }) => (event.case === 'critique' ? [event.value] : []));
  return {
    text: textOf(events),
    critiques: critiques.map(({ verdict, supersedes, error }) => [
      CritiqueVerdict[verdict],
      supersedes,
      error?.id,
    ]),
    error: errorIdOf(events),
    last: events.at(-1)?.event,
  };
}

const ACCEPT = '{"verdict": "accept", "reason": ""}';
const RETRY = 'Well: {"verdict": "retry", "reason": "count again"}';
const STOP = '{"verdict": "stop", "reason": "it leaks"}';

test('[HOST-02] an answer that its critic accepts is done, and the turn pays for both', async () => {
  const world = judged(['three'], [ACCEPT]);
  const { text, critiques, last } = await outcomeOf(world);
  assert.deepEqual([text, critiques], ['three', [['ACCEPT', false, undefined]]]);
  assert.ok(last?.case === 'assistantDone');
  assert.deepEqual([last.value.usage?.outputTokens, last.value.steps], [10n, 1]);
  const [part] = world.asked.critic[0]?.messages[0]?.content ?? [];
  assert.ok(part?.type === 'text');
  assert.deepEqual(JSON.parse(part.text), { question: 'how many?', results: [], answer: 'three' });
});

test('[HOST-02] an answer is written again once, and the first one is marked as superseded', async () => {
  const world = judged(['three', 'four'], [RETRY, ACCEPT]);
  const { text, critiques } = await outcomeOf(world);
  assert.equal(text, 'threefour');
  assert.deepEqual(critiques, [
    ['RETRY', true, undefined],
    ['ACCEPT', false, undefined],
  ]);
  assert.match(JSON.stringify(world.asked.writer[1]?.messages.at(-1)), /count again/);
});

test('[HOST-02] a superseded answer does not enter the conversation', async () => {
  const { bench } = judged(['three', 'four'], [RETRY, ACCEPT]);
  const { turn } = startTurn(bench, 'how many?');
  const { messages } = await turn.ended;
  assert.deepEqual(messages, [
    { role: 'assistant', provider: 'mock', content: [{ type: 'text', text: 'four' }] },
  ]);
});

test('[HOST-02] a critic that is never content decides by its configuration after one retry', async () => {
  const accepted = await outcomeOf(judged(['a', 'b'], [RETRY]));
  assert.deepEqual(accepted.critiques, [
    ['RETRY', true, undefined],
    ['RETRY', false, undefined],
  ]);
  assert.equal(accepted.error, undefined);
  const stopped = await outcomeOf(judged(['a', 'b'], [RETRY], 'stop'));
  assert.equal(stopped.error, 'turn.rejected');
});

test('[HOST-02] a critic can stop the turn', async () => {
  const { critiques, error } = await outcomeOf(judged(['secret'], [STOP]));
  assert.deepEqual([critiques, error], [[['STOP', false, undefined]], 'turn.rejected']);
});

test('[HOST-02] a critic that fails or writes nonsense says so, and the configuration decides', async () => {
  const failed = new ZlError('provider.rejected', 'no such model');
  for (const [reply, id] of [
    [failed, 'provider.rejected'],
    ['Looks good to me!', 'provider.unparsable'],
    ['{"verdict": "maybe", "reason": ""}', 'provider.unparsable'],
  ] as const) {
    const accepted = await outcomeOf(judged(['three'], [reply]));
    assert.deepEqual(accepted.critiques, [['ACCEPT', false, id]]);
    assert.equal(accepted.error, undefined);
    const stopped = await outcomeOf(judged(['three'], [reply], 'stop'));
    assert.deepEqual(stopped.critiques, [['STOP', false, id]]);
    assert.equal(stopped.error, 'turn.rejected');
  }
});

test('[HOST-07] a retry is a step, and its critic cannot spend more than the turn has', async () => {
  const steps = await outcomeOf(judged(['a', 'b'], [RETRY]), { maxSteps: 1 });
  assert.equal(steps.error, 'budget.steps');
  const world = judged(['three'], [ACCEPT]);
  const { critiques } = await outcomeOf(world, { maxOutputTokens: 5 });
  assert.equal(world.asked.critic.length, 0);
  assert.deepEqual(critiques, [['ACCEPT', false, 'budget.tokens']]);
});
