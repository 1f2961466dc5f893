import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { LlmProvider } from '../../src/providers/port.ts';
import { errorIdOf, namesOf, textOf } from '../support/streams.ts';
import { modelsOf, runTurn, turnBench } from '../support/turn-bench.ts';
import {
  type Answer,
  answerOf,
  BOUNDS,
  eventsOf,
  MODELS,
  providerOf,
  sendsError,
  sendsEvents,
  VENDOR_TYPES,
  type VendorServer,
  vendorServer,
} from './vendor-server.ts';

const tool = () => ({ content: 'said by the tool' });
const TOOLS = { 'fs.list': tool, 'fs.read': tool };

async function vendors(t: TestContext) {
  const servers = new Map<string, VendorServer>();
  const providers: Record<string, LlmProvider> = {};
  for (const type of VENDOR_TYPES) {
    const server = await vendorServer(t, sendsEvents(answerOf(type)));
    servers.set(type, server);
    providers[type] = await providerOf(t, type, server);
  }
  const serverOf = (type: string) => servers.get(type)!;
  return { serverOf, providers };
}

function targetsOf(...types: readonly (keyof typeof MODELS)[]) {
  return types.map((type) => ({ provider: type, model: MODELS[type] }));
}

/** What the vendor signed in its reply: reasoning, and at some calls. */
function signaturesOf(type: (typeof VENDOR_TYPES)[number]): string[] {
  const signed = eventsOf(type)
    .toString()
    .matchAll(/"(?:signature|thoughtSignature|encrypted_content)": ?"([^"]+)"/g);
  return [...signed].map(([, signature = '']) => signature);
}

test('[PROV-03] every vendor goes on with a conversation in which any other one called tools', async (t) => {
  const { serverOf, providers } = await vendors(t);
  for (const first of VENDOR_TYPES) {
    for (const second of VENDOR_TYPES.filter((type) => type !== first)) {
      const [from, to] = [serverOf(first), serverOf(second)];
      const replies: Answer[] = [sendsEvents(eventsOf(first)), sendsError(503)];
      from.answer = (...exchange) => (replies.shift() ?? sendsError(503))(...exchange);
      to.answer = sendsEvents(answerOf(second));
      const models = modelsOf({ main: { targets: targetsOf(first, second) } }, providers);
      const bench = turnBench({ tools: TOOLS, deps: { models } });
      const events = await runTurn(bench, 'Read a.txt and b.txt.');
      const pair = `${first}, then ${second}`;
      const end = events.at(-1)?.event;
      assert.ok(end?.case === 'assistantDone', `${pair}: ${errorIdOf(events)}`);
      assert.deepEqual([end.value.provider, end.value.model], [second, MODELS[second]], pair);
      const ran = bench.toolboxes.log.filter((line) => line.startsWith('ran '));
      assert.equal(ran.length, 2, `${pair}: no call runs twice`);
      const { body = '' } = to.asked.at(-1) ?? {};
      assert.equal(body.split('said by the tool').length, 3, `${pair}: both results are sent`);
      const foreign = signaturesOf(first).filter((signature) => body.includes(signature));
      assert.deepEqual(foreign, [], `${pair}: a signature is for the vendor that made it`);
    }
  }
});

test('[PROV-03] [OPS-04] a vendor that is down, hangs, throttles or breaks off is replaced by the next target', async (t) => {
  const { serverOf, providers } = await vendors(t);
  const started = eventsOf('openai-chat').subarray(0, 600);
  const hanging: Readonly<Record<string, Partial<typeof BOUNDS>>> = {
    'hanging before its reply': { firstByteMs: 100 },
    'hanging in its reply': { idleMs: 500 },
  };
  const faults: Readonly<Record<string, Answer>> = {
    down: (response) => void response.destroy(),
    'in error': sendsError(500),
    throttling: sendsError(429, { 'retry-after': '60' }),
    'without credit': sendsError(402),
    'hanging before its reply': () => {},
    'hanging in its reply': (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(started);
    },
    'breaking off': (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(started, () => response.destroy());
    },
  };
  for (const [fault, answer] of Object.entries(faults)) {
    const server = serverOf('openai-chat');
    server.answer = answer;
    const bounds = { ...BOUNDS, ...hanging[fault] };
    const faulty = await providerOf(t, 'openai-chat', server, { bounds });
    const targets = targetsOf('openai-chat', 'anthropic');
    const models = modelsOf({ main: { targets } }, { ...providers, 'openai-chat': faulty });
    const bench = turnBench({ deps: { models } });
    const events = await runTurn(bench, 'go', { mayReplaceText: true });
    assert.equal(events.at(-1)?.event.case, 'assistantDone', fault);
    const at = events.findIndex(({ event }) => event.case === 'providerInterrupted');
    assert.equal(textOf(events.slice(at + 1)), 'Done.', fault);
    assert.equal(at !== -1, fault.includes('in its reply') || fault === 'breaking off', fault);
  }
});

test('[PROV-03] one request at a time probes a vendor that was down, and its answer lets the others back', async (t) => {
  const { serverOf, providers } = await vendors(t);
  const server = serverOf('openai-chat');
  const models = modelsOf({ main: { targets: targetsOf('openai-chat', 'anthropic') } }, providers, {
    breaker: { openForMs: 1, maxOpenForMs: 1 },
  });
  const bench = turnBench({ deps: { models } });
  const turns = (count: number) =>
    Promise.all(Array.from({ length: count }, () => runTurn(bench, 'go')));
  const { breaker } = models.resolve('', '').targets[0]!;
  server.answer = sendsError(503);
  while (breaker.state === 'closed') await turns(1);
  let waiting = 0;
  const probed = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  server.answer = async (response, request) => {
    waiting += 1;
    probed.resolve();
    await release.promise;
    sendsEvents(answerOf('openai-chat'))(response, request);
  };
  const probe = (async () => {
    for (;;) {
      const events = await runTurn(bench, 'go');
      if (answeredBy(events) === 'openai-chat') return;
    }
  })();
  await probed.promise;
  assert.equal(breaker.state, 'half-open');
  for (const events of await turns(20)) assert.equal(answeredBy(events), 'anthropic');
  assert.equal(waiting, 1);
  release.resolve();
  await probe;
  assert.equal(breaker.state, 'closed');
  for (const events of await turns(20)) assert.equal(answeredBy(events), 'openai-chat');
});

function answeredBy(events: Awaited<ReturnType<typeof runTurn>>): string {
  const end = events.at(-1)?.event;
  assert.ok(end?.case === 'assistantDone', namesOf(events).join());
  return end.value.provider;
}
