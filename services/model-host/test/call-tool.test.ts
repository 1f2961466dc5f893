import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallOutcome } from '@zerolatency/proto/agent';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import { eventsOf, namesOf } from './support/streams.ts';

const ECHO = { 'demo.echo': ({ arguments: args }: { arguments: unknown }) => ({ args }) };

for (const protocol of ['connect', 'grpc'] as const) {
  test(`[CLI-02] CallTool runs one call over ${protocol} and records it as a turn without steps`, async (t) => {
    const host = await startTestHost(t, { tools: ECHO, rules: '- reply: [{ text: never }]' });
    const client = host.client(protocol, await host.issuer.token());
    const asked = { tool: 'demo.echo', argumentsJson: '{"b":2,"a":1}', deviceId: 'laptop' };
    const events = await eventsOf(client.callTool({ ...asked, sessionId: 's1' }));
    assert.deepEqual(namesOf(events), ['toolCallStarted', 'toolCallDone', 'assistantDone']);
    const [started, done, last] = events.map(({ event }) => event);
    assert.ok(started?.case === 'toolCallStarted' && done?.case === 'toolCallDone');
    assert.deepEqual([started.value.step, started.value.tool], [0, 'demo.echo']);
    assert.deepEqual(JSON.parse(done.value.resultJson).structuredContent.args, { a: 1, b: 2 });
    assert.ok(last?.case === 'assistantDone');
    assert.deepEqual([last.value.steps, last.value.auditId], [0, 'audit-1']);
    const { outcome, steps, inputTokens, callIds, scope } = host.recorder.records[0]!;
    assert.deepEqual([outcome, steps, inputTokens, callIds.length], ['done', 0, 0, 1]);
    assert.deepEqual([scope.sessionId, scope.identity.user], ['s1', 'user-1']);
  });
}

test('[CLI-02] a call that fails is an outcome of CallTool, not an error of the RPC', async (t) => {
  const host = await startTestHost(t, { tools: ECHO });
  const client = host.client('grpc', await host.issuer.token());
  const events = await eventsOf(client.callTool({ tool: 'demo.none', deviceId: 'laptop' }));
  const done = events.at(1)?.event;
  assert.ok(done?.case === 'toolCallDone');
  assert.deepEqual(
    [done.value.outcome, done.value.error?.id],
    [CallOutcome.FAILED, 'tool.unknown'],
  );
  assert.equal(events.at(-1)?.event.case, 'assistantDone');
});

const REFUSED = {
  'no tool': [{}, 'tool is not a name'],
  'a tool name without end': [{ tool: 'x'.repeat(194) }, 'tool is not a name'],
  'arguments that are no JSON': [{ tool: 'demo.echo', argumentsJson: '{' }, 'arguments_json'],
  'arguments that are a list': [{ tool: 'demo.echo', argumentsJson: '[]' }, 'arguments_json'],
  'too long arguments': [
    { tool: 'demo.echo', argumentsJson: `{"a":"${'x'.repeat(256 * 1024)}"}` },
    'arguments_json are longer',
  ],
  'arguments nested without end': [
    { tool: 'demo.echo', argumentsJson: `{"a":${'['.repeat(120_000)}${']'.repeat(120_000)}}` },
    'arguments_json',
  ],
  'a bad device': [{ tool: 'demo.echo', deviceId: '../x' }, 'device_id'],
  'a negative timeout': [{ tool: 'demo.echo', timeout: { seconds: -1n } }, 'timeout'],
} as const;

test('[CLI-02] CallTool refuses what it cannot read, and runs nothing', async (t) => {
  const host = await startTestHost(t, { tools: ECHO });
  const client = host.client('grpc', await host.issuer.token());
  for (const [what, [asked, message]] of Object.entries(REFUSED)) {
    const refusal = await eventsOf(client.callTool(asked)).catch(fromConnectError);
    assert.ok(refusal instanceof Error, what);
    assert.equal(refusal.id, 'request.invalid', what);
    assert.ok(refusal.message.includes(message), refusal.message);
  }
  assert.deepEqual([host.toolboxes.log, host.recorder.records], [[], []]);
});

test('[CLI-02] [HOST-12] CallTool needs an identity, and takes a slot of a turn', async (t) => {
  const gate = Promise.withResolvers<void>();
  const host = await startTestHost(t, {
    tools: { 'demo.wait': () => gate.promise },
    settings: { 'limits.turnsPerUser': 1 },
  });
  const idOf = (call: Parameters<typeof eventsOf>[0]) =>
    eventsOf(call).then(
      (events) => namesOf(events).at(-1),
      (reason) => fromConnectError(reason).id,
    );
  const asked = { tool: 'demo.wait', deviceId: 'laptop' };
  assert.equal(await idOf(host.client('grpc', '').callTool(asked)), 'identity.missing');
  const client = host.client('grpc', await host.issuer.token());
  const first = idOf(client.callTool(asked));
  await eventually(() => host.toolboxes.running() === 1);
  assert.equal(await idOf(client.callTool(asked)), 'limit.exceeded');
  gate.resolve();
  assert.equal(await first, 'assistantDone');
});

test('[CLI-02] [HOST-05] closing the stream of CallTool cancels its call', async (t) => {
  const signals: AbortSignal[] = [];
  const host = await startTestHost(t, {
    tools: {
      'demo.hang': ({ signal }) =>
        new Promise((_, reject) => {
          signals.push(signal);
          signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        }),
    },
  });
  const client = host.client('grpc', await host.issuer.token());
  const stop = new AbortController();
  const asked = { tool: 'demo.hang', deviceId: 'laptop' };
  const call = eventsOf(client.callTool(asked, { signal: stop.signal }));
  await eventually(() => signals.length === 1);
  stop.abort();
  await assert.rejects(call);
  await eventually(() => host.recorder.records.length === 1);
  assert.equal(host.recorder.records[0]?.outcome, 'cancelled');
});
