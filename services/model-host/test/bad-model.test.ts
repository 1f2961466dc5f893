import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LlmProvider } from '../src/providers/port.ts';
import { started } from './relay/started.ts';
import { startTestHost } from './support/host.ts';
import { asks, finish } from './support/replies.ts';
import { errorIdOf, eventsOf } from './support/streams.ts';
import { runTurn, turnBench } from './support/turn-bench.ts';

/** Asks for one call with these arguments whenever it is asked. */
function asking(...inputs: readonly string[]): LlmProvider {
  return {
    name: 'odd',
    async *stream({ messages }) {
      if (messages.at(-1)?.role !== 'tool') {
        for (const [index, input] of inputs.entries()) yield asks('fs.read', input, `${index}`);
      }
      yield finish();
    },
  };
}

const tools = { 'fs.read': () => ({ content: 'x' }) };

const deep = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;

const ARGUMENTS: readonly (readonly [what: string, inputs: readonly string[], ends?: string])[] = [
  ['that are not JSON', ['{path: a}']],
  // They cost more than a turn has, so the model is not prompted again.
  ['of 10 MB', [JSON.stringify({ path: 'x'.repeat(1e7) })], 'budget.tokens'],
  ['nested 10,000 deep', [deep(10_000)]],
  ['nested without an end', ['{"a":'.repeat(10_000)]],
  ['of 1,000 calls in one step', Array.from({ length: 1000 }, () => '{}')],
];

for (const [what, inputs, ends = 'provider.unparsable'] of ARGUMENTS) {
  test(`[HOST-08] arguments ${what} run nothing and end the turn with ${ends}`, async () => {
    const bench = turnBench({ provider: asking(...inputs), tools });
    const events = await runTurn(bench, 'go');
    assert.equal(errorIdOf(events), ends);
    assert.deepEqual(bench.toolboxes.log, []);
    const last = events.at(-1)?.event;
    assert.ok(last?.case === 'error' && last.value.message.length < 1000);
    assert.equal(bench.recorder.records[0]?.errorId, ends);
  });
}

test('[HOST-08] whatever a model writes as arguments, its turn ends and no defect shows', async () => {
  const inputs = fc.oneof(fc.string({ unit: 'binary' }), fc.json({ maxDepth: 6 }));
  await fc.assert(
    fc.asyncProperty(fc.array(inputs, { maxLength: 5 }), async (all) => {
      const events = await runTurn(turnBench({ provider: asking(...all), tools }), 'go');
      assert.ok([undefined, 'provider.unparsable'].includes(errorIdOf(events)), errorIdOf(events));
    }),
    { numRuns: 50 },
  );
});

test('[TOOL-04] a call of a tool that does not exist has a receipt, and its name is cut', async (t) => {
  const { run, verify } = await started(t);
  for (const tool of ['fs.shred', '', 'x'.repeat(10_000), '../../etc/passwd', '__proto__']) {
    const { error, receiptJson } = await run(tool, {});
    assert.match(error?.id ?? '', /^(tool\.unknown|policy\.denied)$/, tool);
    const { receipt } = verify(receiptJson).value ?? {};
    assert.equal(receipt?.errorId, error?.id);
    assert.ok((receipt?.tool.length ?? 0) <= 200);
  }
});

const CALLS = `{ toolCalls: [${Array.from({ length: 100 }, () => '{ tool: a }').join(', ')}] }`;

test('[HOST-08] [OBS-02] counts replies that cannot be read, by what is wrong with them', async (t) => {
  const host = await startTestHost(t, {
    rules: `
- when: { text: '^(calls|.*at once)' }
  reply: [${Array.from({ length: 10 }, () => CALLS).join(', ')}]
- when: { text: '^(plan|.*its JSON)' }
  reply: [{ text: '{"calls": 1}' }]
- reply: [{ toolCalls: [{ tool: a, argumentsText: 'a' }] }]`,
    tools: { a: () => ({}) },
    settings: {
      'models.aliases': {
        mock: { provider: 'mock', model: 'scripted' },
        json: { provider: 'mock', model: 'scripted', toolCalls: 'json' },
      },
    },
  });
  const client = host.client('connect', await host.issuer.token());
  const asked: readonly (readonly [text: string, model: string])[] = [
    ['calls', ''],
    ['plan', 'json'],
    ['arguments', ''],
  ];
  for (const [text, model] of asked) {
    await assert.rejects(eventsOf(client.chat({ start: { text, model, deviceId: 'laptop' } })));
  }
  const metrics = await (await fetch(`${host.addresses.admin}/metrics`)).text();
  for (const [place] of asked) {
    const line = new RegExp(
      `^zl_host_unreadable_replies_total\\{[^}]*place="${place}"[^}]*\\} 3$`,
      'm',
    );
    assert.match(metrics, line);
  }
  assert.match(metrics, /^zl_host_turns_total\{[^}]*error_id="provider.unparsable"[^}]*\} 3$/m);
});
