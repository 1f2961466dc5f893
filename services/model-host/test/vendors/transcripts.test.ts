import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { VENDORS, type VendorType } from '../../src/adapters/ai-sdk/vendors.ts';
import { jsonPlanProvider } from '../../src/providers/json-plan.ts';
import { textOf } from '../support/streams.ts';
import { transcriptOf } from '../support/transcript.ts';
import { runTurn, turnBench } from '../support/turn-bench.ts';
import {
  answerOf,
  BOUNDS,
  eventsOf,
  eventsSaying,
  MODELS,
  partsOf,
  providerOf,
  requestTo,
  sendsEvents,
  VENDOR_TYPES,
  vendorServer,
} from './vendor-server.ts';

for (const type of VENDOR_TYPES) {
  test(`[PROV-01] [PROV-02] the transcript of a turn with ${type} is unchanged`, async (t) => {
    const { asked, bench } = await turnWith(t, type);
    const events = await runTurn(bench, 'Read a.txt and b.txt.');
    assert.equal(events.at(-1)?.event.case, 'assistantDone');
    assert.equal(asked.length, 2);
    const requests = asked.map(({ method, path, body }) => ({
      ...{ method, path, body: constantIds(JSON.parse(body)) },
    }));
    t.assert.fileSnapshot(
      { requests, events: transcriptOf(events) },
      fileURLToPath(new URL(`${type}.golden`, import.meta.url)),
      { serializers: [(value) => `${JSON.stringify(value, null, 2)}\n`] },
    );
  });
}

/** Two model calls: the first asks for two tools, the second says "Done." */
async function turnWith(t: TestContext, type: VendorType) {
  const replies = [eventsOf(type), answerOf(type)];
  const server = await vendorServer(t, (response, request) => {
    sendsEvents(replies[server.asked.length - 1] ?? '')(response, request);
  });
  const provider = await providerOf(t, type, server);
  const bench = turnBench({
    provider,
    model: MODELS[type],
    tools: { 'fs.read': ({ arguments: { path } }) => ({ content: `what ${path} holds` }) },
  });
  return { asked: server.asked, bench };
}

test('[HOST-08] the instructions of a request name no tool by another name than its definition', async (t) => {
  for (const type of VENDOR_TYPES) {
    const { asked, bench } = await turnWith(t, type);
    await runTurn(bench, 'Read a.txt and b.txt.');
    const [{ body } = { body: '' }] = asked;
    assert.match(body, /"fs_read"/, type);
    assert.doesNotMatch(body.replace('the tool fs.read', ''), /fs\.read/, type);
  }
});

test('[HOST-08] [PROV-02] a model behind openai-compatible calls tools by JSON in its text', async (t) => {
  const plan = { answer: 'Reading.', calls: [{ tool: 'fs.read', arguments: { path: 'a.txt' } }] };
  const written = JSON.stringify(plan).match(/.{1,7}/g) ?? [];
  const replies = [
    eventsSaying(...written),
    eventsSaying('{"answer": "It is ', 'there.", "calls": []}'),
  ];
  const server = await vendorServer(t, (response, request) => {
    sendsEvents(replies[server.asked.length - 1] ?? '')(response, request);
  });
  const plain = await providerOf(t, 'openai-compatible', server);
  const provider = jsonPlanProvider(plain, { structuredOutput: true });
  const tools = { 'fs.read': () => ({ content: 'A.' }) };
  const events = await runTurn(turnBench({ provider, model: 'gemma', tools }), 'Read a.txt.');
  assert.equal(textOf(events), 'Reading.It is there.');
  const [first, second] = server.asked.map(({ body }) => JSON.parse(body));
  assert.equal(first.tools, undefined);
  assert.deepEqual(first.response_format.json_schema.schema.required, ['answer', 'calls']);
  assert.deepEqual(second.messages.slice(0, first.messages.length), first.messages);
  const said = second.messages.slice(first.messages.length);
  assert.deepEqual(
    said.map(({ role }: { role: string }) => role),
    ['assistant', 'user'],
  );
  assert.equal(said[0].content, JSON.stringify(plan));
  assert.match(said[1].content, /\{"results":\[\{"tool":"fs.read","result":/);
});

/** Google gives its calls no ids, so its package makes random ones up. */
function constantIds(body: unknown): unknown {
  return JSON.parse(
    JSON.stringify(body, (key, value) => (key === 'id' && value.length === 16 ? 'id' : value)),
  );
}

test('[PROV-02] marks what Anthropic is to cache: the tools, the system prompt and the conversation', async (t) => {
  const server = await vendorServer(t, sendsEvents(answerOf('anthropic')));
  const provider = await providerOf(t, 'anthropic', server);
  await partsOf(provider, requestTo('anthropic'));
  const { system, tools, messages } = JSON.parse(server.asked[0]?.body ?? '');
  const mark = { type: 'ephemeral' };
  assert.deepEqual(system.at(-1).cache_control, mark);
  assert.deepEqual(
    tools.map((tool: { cache_control?: unknown }) => tool.cache_control),
    [undefined, mark],
  );
  assert.deepEqual(messages.at(-1).content.at(-1).cache_control, mark);
});

test('[PROV-02] what a second request repeats of the first is the same, byte for byte', async (t) => {
  for (const type of VENDOR_TYPES) {
    const { asked, bench } = await turnWith(t, type);
    await runTurn(bench, 'Read a.txt and b.txt.');
    const [first = '', second = ''] = asked.map(({ body }) => cacheable(JSON.parse(body)));
    assert.ok(first.length > 100);
    assert.ok(second.startsWith(first), `${type}\n${first}\n${second}`);
  }
});

/** Instructions, tools and messages in the order of a cache, without its marks. */
function cacheable(body: Record<string, unknown>): string {
  const { tools, system, systemInstruction, messages, contents, input } = body;
  const whole = { tools, system, systemInstruction, said: messages ?? contents ?? input };
  const text = JSON.stringify(whole, (key, value) => (key === 'cache_control' ? undefined : value));
  return text.slice(0, -2);
}

test('[PROV-02] asks each vendor for an answer of a schema in its own way', async (t) => {
  const outputSchema = {
    type: 'object' as const,
    properties: { wordCount: { type: 'integer' as const } },
    required: ['wordCount'],
    additionalProperties: false,
  };
  for (const type of VENDOR_TYPES) {
    const server = await vendorServer(t, sendsEvents(answerOf(type)));
    const provider = await providerOf(t, type, server);
    await partsOf(provider, { ...requestTo(type), tools: [], outputSchema });
    assert.match(server.asked[0]?.body ?? '', /schema.*"wordCount"/i, type);
  }
});

test('[PROV-04] sends the key in the header of the vendor, and nowhere else', async (t) => {
  for (const type of VENDOR_TYPES) {
    const server = await vendorServer(t, sendsEvents(answerOf(type)));
    let key = 'key-of-monday';
    const provider = await providerOf(t, type, server, { readKey: async () => key });
    await partsOf(provider, requestTo(type));
    key = 'key-of-tuesday';
    await partsOf(provider, requestTo(type));
    for (const [index, sent] of ['key-of-monday', 'key-of-tuesday'].entries()) {
      const [name, value] = VENDORS[type].keyHeader(sent);
      const { headers, path, body } = server.asked[index] ?? {};
      assert.equal(headers?.[name], value, type);
      const rest = JSON.stringify([{ ...headers, [name]: '' }, path, body]);
      assert.doesNotMatch(rest, /key-of|set-by-the-host/, type);
    }
  }
});

test('[PROV-01] a server without a key is sent none', async (t) => {
  const server = await vendorServer(t, sendsEvents(answerOf('openai-compatible')));
  const provider = await providerOf(t, 'openai-compatible', server, {
    readKey: async () => undefined,
  });
  await partsOf(provider, requestTo('openai-compatible'));
  assert.equal(server.asked[0]?.headers.authorization, undefined);
});

test('[PROV-06] requests one after another share one connection, and more at once take no more than the limit', async (t) => {
  for (const type of VENDOR_TYPES) {
    const server = await vendorServer(t, sendsEvents(eventsOf(type)));
    const provider = await providerOf(t, type, server, { bounds: { ...BOUNDS, connections: 3 } });
    for (let n = 0; n < 5; n += 1) await partsOf(provider, requestTo(type));
    // The next request may start before the very end of the reply has been read.
    assert.ok(server.connections() <= 2, `${type}: ${server.connections()}`);
    await Promise.all(Array.from({ length: 12 }, () => partsOf(provider, requestTo(type))));
    assert.ok(server.connections() <= 3, `${type}: ${server.connections()}`);
  }
});
