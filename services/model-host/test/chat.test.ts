import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import {
  type ChatEvent,
  type OnDisconnect,
  StreamChatRequestSchema,
} from '@zerolatency/proto/agent';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import {
  cancel,
  errorIdOf,
  eventsOf,
  namesOf,
  only,
  Requests,
  start,
  textOf,
} from './support/streams.ts';

const welcome = { 'fs.read': () => ({ path: 'welcome.txt', content: 'Welcome.' }) };

for (const protocol of ['connect', 'grpc'] as const) {
  test(`[HOST-01] [PROV-01] a turn streams over ${protocol}, reads a file, and ends`, async (t) => {
    const host = await startTestHost(t, { tools: welcome });
    const client = host.client(protocol, await host.issuer.token());
    const asked = start({ text: 'read the welcome file', deviceId: 'laptop', sessionId: 's1' });
    const events = await eventsOf(client.streamChat(only(asked)));
    assert.equal(namesOf(events).at(-1), 'assistantDone');
    assert.match(textOf(events), /Welcome\./);
    events.forEach((event, index) => {
      assert.equal(event.sequence, BigInt(index + 1));
      assert.equal(event.sessionId, 's1');
    });
    assert.equal(host.recorder.records[0]?.scope.identity.user, 'user-1');
  });
}

test('[HOST-01] Chat gives the same events for one turn', async (t) => {
  const host = await startTestHost(t, { tools: welcome });
  const client = host.client('connect', await host.issuer.token());
  const asked = { text: 'read the welcome file', deviceId: 'laptop', sessionId: 's1' };
  const twin = await eventsOf(client.chat({ start: asked }));
  const whole = await eventsOf(client.streamChat(only(start(asked))));
  const shape = (events: typeof twin) => [...new Set(namesOf(events))];
  assert.deepEqual(shape(twin), shape(whole));
  assert.equal(textOf(twin), textOf(whole));
});

test('turns of one stream follow each other and remember the conversation', async (t) => {
  const host = await startTestHost(t, {
    rules: `
- when: { step: 2 }
  reply: [{ text: never }]
- when: { text: again }
  reply: [{ text: 'second' }]
- reply: [{ text: 'first' }]`,
  });
  const client = host.client('grpc', await host.issuer.token());
  const requests = new Requests();
  requests.send(start({ text: 'one' }));
  const events: ChatEvent[] = [];
  for await (const { event } of client.streamChat(requests)) {
    if (event === undefined) continue;
    events.push(event);
    if (event.event.case !== 'assistantDone') continue;
    if (events.filter(({ event: each }) => each.case === 'assistantDone').length === 1) {
      requests.send(start({ text: 'again' }));
    } else requests.end();
  }
  assert.equal(textOf(events), 'firstsecond');
  assert.equal(new Set(events.map((event) => event.sessionId)).size, 1);
  const turnIds = [...new Set(events.map((event) => event.turnId))];
  assert.equal(turnIds.length, 2);
  for (const turnId of turnIds) {
    const sequences = events
      .filter((event) => event.turnId === turnId)
      .map((event) => event.sequence);
    assert.deepEqual(
      sequences,
      sequences.map((_, index) => BigInt(index + 1)),
    );
  }
  // The second turn's model call carried the first turn, which the mock counts as input.
  const [first, second] = host.recorder.records;
  assert.ok((second?.inputTokens ?? 0) > (first?.inputTokens ?? 0));
});

test('[HOST-05] a cancel ends the turn and not the stream', async (t) => {
  const host = await startTestHost(t, {
    rules: `
- when: { text: hang }
  reply: [{ text: thinking }, { hang: true }]
- reply: [{ text: fine }]`,
  });
  const client = host.client('connect', await host.issuer.token());
  const requests = new Requests();
  requests.send(start({ text: 'hang' }));
  const events: ChatEvent[] = [];
  for await (const { event } of client.streamChat(requests)) {
    if (event === undefined) continue;
    events.push(event);
    if (event.event.case === 'assistantDelta' && event.event.value.text === 'thinking') {
      requests.send(cancel());
    } else if (event.event.case === 'error') requests.send(start({ text: 'next' }));
    else if (event.event.case === 'assistantDone') requests.end();
  }
  const errors = events.flatMap(({ event }) => (event.case === 'error' ? [event.value.id] : []));
  assert.deepEqual(errors, ['turn.cancelled']);
  assert.match(textOf(events), /thinkingfine/);
  assert.deepEqual(
    host.recorder.records.map((record) => record.outcome),
    ['cancelled', 'done'],
  );
});

test('a second turn while one runs ends at once with turn.busy, and the first goes on', async (t) => {
  const release = Promise.withResolvers<object>();
  const host = await startTestHost(t, {
    rules: `
- when: { after: results }
  reply: [{ text: fine }]
- reply: [{ toolCalls: [{ tool: wait }] }]`,
    tools: { wait: () => release.promise },
  });
  const client = host.client('grpc', await host.issuer.token());
  const requests = new Requests();
  requests.send(start({ text: 'one', deviceId: 'd' }));
  const events: ChatEvent[] = [];
  for await (const { event } of client.streamChat(requests)) {
    if (event === undefined) continue;
    events.push(event);
    if (event.event.case === 'toolCallStarted') requests.send(start({ text: 'two' }));
    if (event.event.case === 'error') {
      release.resolve({});
      requests.end();
    }
  }
  const busy = events.find(({ event }) => event.case === 'error');
  assert.equal(busy?.event.case === 'error' && busy.event.value.id, 'turn.busy');
  assert.equal(busy?.sequence, 1n);
  assert.notEqual(busy?.turnId, events[0]?.turnId);
  assert.equal(namesOf(events).at(-1), 'assistantDone');
});

test('[HOST-14] an invalid request fails the RPC with an error that names the field', async (t) => {
  const host = await startTestHost(t);
  const client = host.client('connect', await host.issuer.token());
  const refused = async (init: Parameters<typeof start>[0], id: string, words: RegExp) => {
    await assert.rejects(eventsOf(client.streamChat(only(start(init)))), (reason) => {
      const error = fromConnectError(reason);
      assert.equal(error.id, id);
      assert.match(error.message, words);
      return true;
    });
  };
  await refused({ text: ' ' }, 'request.invalid', /start\.text/);
  await refused({ text: 'x'.repeat(256 * 1024 + 1) }, 'request.too_large', /start\.text/);
  await refused({ text: 'x', sessionId: 'a b' }, 'request.invalid', /start\.session_id/);
  await refused({ text: 'x', deviceId: '../x' }, 'request.invalid', /start\.device_id/);
  await refused({ text: 'x', model: 'gpt' }, 'provider.unknown_model', /gpt/);
  await refused({ text: 'x', onDisconnect: 7 as OnDisconnect }, 'request.invalid', /on_disconnect/);
  await refused({ text: 'x', history: [{ text: 'hi' }] }, 'request.invalid', /history\[0\]\.role/);
  const long = Array.from({ length: 201 }, () => ({ role: 1, text: 'hi' }));
  await refused({ text: 'x', history: long }, 'request.too_large', /history/);
  await assert.rejects(eventsOf(client.chat({})), /start is missing/);
  assert.equal(host.recorder.records.length, 0);
});

test('[HOST-12] refuses more turns at once than a user may have, and frees the slot afterwards', async (t) => {
  const host = await startTestHost(t, {
    rules: '- reply: [{ text: a }, { hang: true }]',
    settings: { 'limits.turnsPerUser': 1 },
  });
  const client = host.client('grpc', await host.issuer.token());
  const stop = new AbortController();
  const first = client.streamChat(only(start({ text: 'one' })), { signal: stop.signal });
  await first[Symbol.asyncIterator]().next();
  const asked = { text: 'two', limits: { timeout: { nanos: 10_000_000 } } };
  const second = () => eventsOf(client.streamChat(only(start(asked))));
  await assert.rejects(second(), (reason) => fromConnectError(reason).id === 'limit.exceeded');
  stop.abort();
  const events = await eventually(second);
  assert.equal(errorIdOf(events), 'budget.time');
});

test('[HOST-05] a client that leaves cancels its turn, unless the turn was told to go on', async (t) => {
  const release = Promise.withResolvers<void>();
  const host = await startTestHost(t, {
    rules: `
- when: { after: results }
  reply: [{ text: fine }]
- reply: [{ text: a }, { toolCalls: [{ tool: wait }] }]`,
    tools: {
      wait: ({ signal }) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
          void release.promise.then(() => resolve({}));
        }),
    },
  });
  const client = host.client('connect', await host.issuer.token());
  for (const onDisconnect of [1, 2]) {
    const stop = new AbortController();
    const asked = start({ text: 'x', deviceId: 'd', onDisconnect });
    const stream = client.streamChat(only(asked), { signal: stop.signal })[Symbol.asyncIterator]();
    await eventually(
      async () => (await stream.next()).value?.event?.event.case === 'toolCallStarted',
    );
    stop.abort();
    await stream.next().catch(() => {});
    if (onDisconnect === 1) await eventually(() => host.recorder.records.length === 1);
  }
  release.resolve();
  await eventually(() => host.recorder.records.length === 2);
  assert.deepEqual(
    host.recorder.records.map((record) => record.outcome),
    ['cancelled', 'done'],
  );
  assert.equal(host.toolboxes.running(), 0);
});

test('a slow reader receives the whole error of an RPC that ends while it may still send', async (t) => {
  const host = await startTestHost(t, {
    rules: `- reply: [{ text: { value: '${'x'.repeat(100)}', chunkChars: 100, repeat: 5000 } }]`,
    settings: { 'turn.maxOutputTokens': 10_000_000 },
  });
  for (const protocol of ['connect', 'grpc'] as const) {
    const client = host.client(protocol, await host.issuer.token());
    const requests = new Requests();
    requests.send(start({ text: 'go' }));
    requests.send(create(StreamChatRequestSchema, {}));
    let chars = 0;
    await assert.rejects(
      async () => {
        for await (const { event } of client.streamChat(requests)) {
          await setImmediate();
          if (event?.event.case === 'assistantDelta') chars += event.event.value.text.length;
        }
      },
      (reason) => fromConnectError(reason).id === 'request.invalid',
    );
    assert.ok(chars <= 500_000);
  }
});

test("[RED-01] a secret in a person's text does not reach the model", async (t) => {
  const host = await startTestHost(t, { rules: "- reply: [{ text: 'you said {{text}}' }]" });
  const client = host.client('grpc', await host.issuer.token());
  const text = 'my key is AKIAIOSFODNN7EXAMPLE';
  const events = await eventsOf(client.streamChat(only(start({ text }))));
  assert.match(textOf(events), /you said my key is \[masked/);
  assert.doesNotMatch(JSON.stringify(host.logs), /AKIAIOSFODNN7/);
});
