import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorId, isErrorId, ZlError } from '@zerolatency/errors';
import type { ChatEvent } from '@zerolatency/proto/agent';
import fc from 'fast-check';
import { asks, finish, says } from '../../test/support/replies.ts';
import { errorIdOf, namesOf, textOf } from '../../test/support/streams.ts';
import { GENEROUS_LIMITS, modelsOf, runTurn, turnBench } from '../../test/support/turn-bench.ts';
import type { LlmProvider, ModelPart } from '../providers/port.ts';

type Script = (call: number) => readonly (ModelPart | ZlError)[];

interface Scripted extends LlmProvider {
  calls: number;
}

/** Says what the script has for each of its calls; an error in it is thrown. */
function scripted(name: string, script: Script): Scripted {
  const provider: Scripted = {
    name,
    calls: 0,
    async *stream() {
      provider.calls += 1;
      for (const part of script(provider.calls)) {
        if (part instanceof ZlError) throw part;
        yield part;
      }
    },
  };
  return provider;
}

const fails = (id: ErrorId, retryAfterMs?: number) =>
  new ZlError(id, 'no', retryAfterMs === undefined ? {} : { retryAfterMs });

const answers: Script = () => [says('fine'), finish()];

interface Options {
  readonly rounds?: number;
  readonly maxWaitMs?: number;
  readonly timeoutMs?: number;
  readonly mayReplaceText?: boolean;
}

async function tell(
  providers: readonly Scripted[],
  { rounds = 0, maxWaitMs = 10_000, timeoutMs = 60_000, mayReplaceText = false }: Options = {},
): Promise<ChatEvent[]> {
  const targets = providers.map(({ name }) => ({ provider: name, model: `${name}-model` }));
  const byName = Object.fromEntries(providers.map((provider) => [provider.name, provider]));
  const bench = turnBench({
    tools: { act: () => ({ content: 'acted' }) },
    deps: {
      models: modelsOf({ main: { targets } }, byName),
      retries: { rounds, maxWaitMs },
      limits: { ...GENEROUS_LIMITS, timeoutMs },
    },
  });
  return runTurn(bench, 'go', { mayReplaceText });
}

function answeredBy(events: readonly ChatEvent[]): string {
  const end = events.at(-1)?.event;
  return end?.case === 'assistantDone' ? `${end.value.provider} ${end.value.model}` : 'nobody';
}

test('[PROV-03] the next target answers when the first fails before its reply, whatever the failure', async () => {
  for (const id of [
    'provider.failed',
    'provider.timeout',
    'provider.throttled',
    'provider.exhausted',
    'provider.unauthorized',
    'provider.rejected',
    'config.invalid',
  ] as const) {
    const one = scripted('one', () => [fails(id)]);
    const two = scripted('two', answers);
    const events = await tell([one, two]);
    assert.deepEqual([answeredBy(events), one.calls, two.calls], ['two two-model', 1, 1], id);
    assert.ok(!namesOf(events).includes('providerInterrupted'));
  }
});

test('[PROV-03] a failure that may pass is retried after a wait, and any other is not', async () => {
  const flaky = scripted('one', (call) => (call < 3 ? [fails('provider.failed')] : answers(call)));
  assert.equal(answeredBy(await tell([flaky], { rounds: 2 })), 'one one-model');
  assert.equal(flaky.calls, 3);
  const down = scripted('one', () => [fails('provider.failed')]);
  assert.equal(errorIdOf(await tell([down], { rounds: 1 })), 'provider.failed');
  assert.equal(down.calls, 2);
  const refused = scripted('one', () => [fails('provider.unauthorized')]);
  assert.equal(errorIdOf(await tell([refused], { rounds: 2 })), 'provider.unauthorized');
  assert.equal(refused.calls, 1);
});

test('[PROV-03] waits as long as the provider asks, within the turn and the setting', async () => {
  const startedMs = performance.now();
  const busy = scripted('one', (call) =>
    call === 1 ? [fails('provider.throttled', 900)] : answers(call),
  );
  assert.equal(answeredBy(await tell([busy], { rounds: 1 })), 'one one-model');
  assert.ok(performance.now() - startedMs >= 900);
  for (const options of [{ maxWaitMs: 5_000 }, { timeoutMs: 5_000 }]) {
    const long = scripted('one', () => [fails('provider.throttled', 8_000)]);
    const events = await tell([long], { rounds: 1, ...options });
    assert.deepEqual([errorIdOf(events), long.calls], ['provider.throttled', 1]);
  }
});

test('[PROV-03] reports a failure that may pass before one that will not', async () => {
  const events = await tell([
    scripted('one', () => [fails('provider.throttled')]),
    scripted('two', () => [fails('provider.unauthorized')]),
  ]);
  assert.equal(errorIdOf(events), 'provider.throttled');
});

test('[PROV-03] after text the turn says who broke off, and fails', async () => {
  const one = scripted('one', () => [says('half'), fails('provider.failed')]);
  const two = scripted('two', answers);
  const events = await tell([one, two], { rounds: 2 });
  assert.deepEqual(namesOf(events), ['assistantDelta', 'providerInterrupted', 'error']);
  const [, interrupted] = events;
  assert.ok(interrupted?.event.case === 'providerInterrupted');
  const { provider, model, firstSequence, error } = interrupted.event.value;
  assert.deepEqual([provider, model, firstSequence], ['one', 'one-model', 1n]);
  assert.equal(error?.id, 'provider.interrupted');
  assert.deepEqual([errorIdOf(events), two.calls], ['provider.interrupted', 0]);
});

test('[PROV-03] a client that allows it gets a whole answer of the next target after the interruption', async () => {
  const one = scripted('one', (call) =>
    call === 1 ? [asks('act'), finish('tool-calls')] : [says('half'), fails('provider.failed')],
  );
  const two = scripted('two', answers);
  const events = await tell([one, two], { mayReplaceText: true });
  const at = events.findIndex(({ event }) => event.case === 'providerInterrupted');
  const { event } = events[at] ?? {};
  assert.ok(event?.case === 'providerInterrupted');
  assert.equal(event.value.firstSequence, events[at - 1]?.firstSequence);
  assert.equal(textOf(events.slice(0, at)), 'half');
  assert.equal(textOf(events.slice(at)), 'fine');
  assert.equal(answeredBy(events), 'two two-model');
  const started = namesOf(events).filter((name) => name === 'toolCallStarted');
  assert.equal(started.length, 1);
});

test('[PROV-03] a reply that breaks off before its text is replaced without asking the client', async () => {
  const one = scripted('one', () => [asks('act'), fails('provider.failed')]);
  const two = scripted('two', answers);
  const events = await tell([one, two]);
  assert.deepEqual(namesOf(events), [
    'providerInterrupted',
    'assistantDelta',
    'usage',
    'assistantDone',
  ]);
  const { event } = events[0]!;
  assert.ok(event.case === 'providerInterrupted' && event.value.firstSequence === 0n);
});

test('[PROV-03] an interrupted reply counts in the usage of the turn, one that never began does not', async () => {
  const broken = scripted('one', () => [says('x'.repeat(400)), fails('provider.failed')]);
  const refused = scripted('two', () => [fails('provider.failed')]);
  const last = scripted('three', () => [says('fine'), finish('stop', [7, 5])]);
  const events = await tell([broken, refused, last], { mayReplaceText: true });
  const end = events.at(-1)?.event;
  assert.ok(end?.case === 'assistantDone');
  assert.equal(end.value.usage?.outputTokens, 105n);
});

test('[PROV-03] a target that keeps failing is not asked, and an alias without another fails fast', async () => {
  const down = scripted('one', () => [fails('provider.failed')]);
  const models = modelsOf(
    { main: { provider: 'one', model: 'm' }, spare: { targets: bothTargets() } },
    { one: down, two: scripted('two', answers) },
  );
  const bench = turnBench({ deps: { models } });
  for (let turn = 0; turn < 8; turn += 1) await runTurn(bench, 'go');
  assert.equal(down.calls, 5);
  const refused = await runTurn(bench, 'go');
  assert.equal(errorIdOf(refused), 'provider.unavailable');
  // The breaker belongs to the model, whichever alias names it.
  assert.equal(answeredBy(await runTurn(bench, 'go', { model: 'spare' })), 'two m');
  assert.equal(down.calls, 5);
});

function bothTargets() {
  return [
    { provider: 'one', model: 'm' },
    { provider: 'two', model: 'm' },
  ];
}

test('[PROV-03] requests that a provider refuses say nothing about its health', async () => {
  const strict = scripted('one', () => [fails('provider.rejected')]);
  const bench = turnBench({ provider: strict });
  for (let turn = 0; turn < 8; turn += 1) await runTurn(bench, 'go');
  assert.equal(strict.calls, 8);
});

test('[PROV-05] a request goes to the first target that supports what it needs', async () => {
  const plain = { provider: 'one', model: 'm', capabilities: [] };
  const able = { provider: 'two', model: 'm', capabilities: ['tools' as const] };
  const providers = { one: scripted('one', answers), two: scripted('two', answers) };
  const models = modelsOf({ main: { targets: [plain, able] }, plain }, providers);
  const bench = turnBench({ tools: { act: () => ({}) }, deps: { models } });
  assert.equal(answeredBy(await runTurn(bench, 'go')), 'two m');
  const incapable = await runTurn(bench, 'go', { model: 'plain' });
  assert.equal(errorIdOf(incapable), 'provider.incapable');
  const talk = turnBench({ deps: { models } });
  assert.equal(answeredBy(await runTurn(talk, 'go', { model: 'plain' })), 'one m');
});

const anyReply = fc.record({
  calls: fc.nat({ max: 2 }),
  text: fc.nat({ max: 3 }),
  end: fc.constantFrom(
    'whole',
    'whole',
    'provider.failed',
    'provider.throttled',
    'provider.unauthorized',
  ),
});

test('[PROV-03] whatever fails, no tool call runs twice and no text of two replies stands together', async () => {
  const seen = { interrupted: 0, done: 0, failed: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyReply, { minLength: 1, maxLength: 12 }),
      fc.boolean(),
      async (replies, mayReplaceText) => {
        let reply = 0;
        const provider = (name: string) =>
          scripted(name, () => {
            const at = reply++;
            const { calls, text, end } = replies[at] ?? { calls: 0, text: 1, end: 'whole' };
            const ids = Array.from({ length: calls }, (_, call) => `${at}.${call}`);
            return [
              ...Array.from({ length: text }, () => says(`<${at}>`)),
              ...ids.map((id) => asks('act', JSON.stringify({ id }), id)),
              isErrorId(end) ? fails(end) : finish(calls > 0 ? 'tool-calls' : 'stop'),
            ];
          });
        const ran: string[] = [];
        const names = ['one', 'two', 'three'];
        const targets = names.map((name) => ({ provider: name, model: 'm' }));
        const byName = Object.fromEntries(names.map((name) => [name, provider(name)]));
        const bench = turnBench({
          tools: {
            act: ({ arguments: { id } }) => {
              ran.push(String(id));
              return { id };
            },
          },
          deps: { models: modelsOf({ main: { targets } }, byName) },
        });
        const events = await runTurn(bench, 'go', { mayReplaceText });
        assert.equal(new Set(ran).size, ran.length, 'a call ran twice');
        let writer = '';
        for (const { event } of events) {
          if (event.case !== 'assistantDelta') {
            writer = '';
            if (event.case === 'providerInterrupted') seen.interrupted += 1;
            continue;
          }
          const writers = new Set(event.value.text.match(/<\d+>/g));
          assert.equal(writers.size, 1);
          const [one = ''] = writers;
          assert.ok(writer === '' || writer === one, `${writer} and ${one} stand together`);
          writer = one;
        }
        const isDone = events.at(-1)?.event.case === 'assistantDone';
        seen[isDone ? 'done' : 'failed'] += 1;
        // Calls of a reply that broke off never run.
        const broken = ran.filter((id) => replies[Number(id.split('.')[0])]?.end !== 'whole');
        assert.deepEqual(broken, []);
      },
    ),
    { numRuns: 200 },
  );
  assert.ok(seen.interrupted > 0 && seen.done > 0 && seen.failed > 0, JSON.stringify(seen));
});
