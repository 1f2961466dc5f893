import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ChatEvent, StreamChatRequest } from '@zerolatency/proto/agent';
import { namesOf, Requests, start } from '../../test/support/streams.ts';
import { turnBench } from '../../test/support/turn-bench.ts';
import { ChatSession } from './chat-session.ts';

// Less than a turn may take.
const TOKEN_LIFE_MS = 1_000;

function openedWith(
  t: TestContext,
  requests: AsyncIterable<StreamChatRequest>,
  leaving = new AbortController(),
) {
  const release = Promise.withResolvers<object>();
  const rules = `
- when: { after: results }
  reply: [{ text: fine }]
- reply: [{ toolCalls: [{ tool: wait }] }]`;
  const { turns, toolboxes } = turnBench({ rules, tools: { wait: () => release.promise } });
  t.after(() => leaving.abort());
  const session = new ChatSession({
    turns,
    identity: { tenant: 'north', user: 'user-1', roles: [] },
    expiresAtMs: Date.now() + TOKEN_LIFE_MS,
    traceparent: '',
    signal: leaving.signal,
    onMasked() {},
  });
  const events: ChatEvent[] = [];
  const ended = (async () => {
    for await (const event of session.events(requests)) events.push(event);
  })();
  return { toolboxes, release, events, ended };
}

test('[HOST-11] a stream on which nothing runs ends with the token it was opened with', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { ended } = openedWith(t, new Requests());
  t.mock.timers.tick(TOKEN_LIFE_MS);
  await assert.rejects(ended, { id: 'identity.invalid', message: /has expired/ });
});

test('[HOST-11] a turn that runs when its token expires goes on to its end, and is the last', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const requests = new Requests();
  const { toolboxes, release, events, ended } = openedWith(t, requests);
  requests.send(start({ text: 'work', deviceId: 'd' }));
  await t.waitFor(() => assert.equal(toolboxes.running(), 1));
  t.mock.timers.tick(TOKEN_LIFE_MS);
  release.resolve({});
  await assert.rejects(ended, { id: 'identity.invalid' });
  assert.equal(namesOf(events).at(-1), 'assistantDone');
});

test('no timer is set for a client that left before it was heard', async (t) => {
  const leaving = new AbortController();
  leaving.abort();
  const setTimeout = t.mock.method(globalThis, 'setTimeout');
  const { ended } = openedWith(t, new Requests(), leaving);
  await ended;
  assert.equal(setTimeout.mock.callCount(), 0);
});
