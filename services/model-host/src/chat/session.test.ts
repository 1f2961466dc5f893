import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { namesOf } from '../../test/support/streams.ts';
import { podTurnLogs, turnBench } from '../../test/support/turn-bench.ts';
import { ChatSession, type TurnStart } from './session.ts';

const WORK: TurnStart = {
  text: 'work',
  sessionId: '',
  deviceId: 'd',
  model: '',
  limits: {},
  history: [],
  survivesDisconnect: false,
};

// Less than a turn may take.
const TOKEN_LIFE_MS = 1_000;

interface Opening {
  readonly leaving?: AbortController;
  readonly hasEffects?: boolean;
}

function opened(t: TestContext, { leaving = new AbortController(), hasEffects }: Opening = {}) {
  const release = Promise.withResolvers<object>();
  const rules = `
- when: { after: results }
  reply: [{ text: fine }]
- reply: [{ toolCalls: [{ tool: wait }] }]`;
  const wait = Object.assign(() => release.promise, { hasEffects });
  const { turns, toolboxes } = turnBench({ rules, tools: { wait } });
  t.after(() => leaving.abort());
  const session = new ChatSession({
    turns,
    logs: podTurnLogs(),
    identity: { tenant: 'north', user: 'user-1', roles: [] },
    expiresAtMs: Date.now() + TOKEN_LIFE_MS,
    traceparent: '',
    signal: leaving.signal,
    observer: { deltasMerged() {}, resumed() {} },
  });
  const events: ChatEvent[] = [];
  const ended = session.deliver(async (event) => void events.push(event));
  return { session, turns, toolboxes, release, events, ended };
}

test('[HOST-11] an idle stream ends when its access token expires', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { ended } = opened(t);
  t.mock.timers.tick(TOKEN_LIFE_MS);
  await assert.rejects(ended, { id: 'identity.invalid', message: /has expired/ });
});

test('[HOST-11] a turn that runs when the access token expires finishes and is the last', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const { session, toolboxes, release, events, ended } = opened(t);
  await session.start(() => WORK);
  await t.waitFor(() => assert.equal(toolboxes.running(), 1));
  t.mock.timers.tick(TOKEN_LIFE_MS);
  release.resolve({});
  await assert.rejects(ended, { id: 'identity.invalid' });
  assert.equal(namesOf(events).at(-1), 'assistantDone');
});

test('[HOST-14] a stream that ends after a tool with effects ran is not to be repeated', async (t) => {
  for (const hasEffects of [false, true]) {
    const { session, turns, toolboxes, release, events, ended } = opened(t, { hasEffects });
    await session.start(() => WORK);
    await t.waitFor(() => assert.equal(toolboxes.running(), 1));
    release.resolve({});
    void turns.drain(AbortSignal.any([]));
    await assert.rejects(ended, { id: 'server.draining', retryable: !hasEffects });
    assert.equal(namesOf(events).at(-1), 'assistantDone');
  }
});

test('sets no timer for a client that left at once', async (t) => {
  const leaving = new AbortController();
  leaving.abort();
  const setTimeout = t.mock.method(globalThis, 'setTimeout');
  const { ended } = opened(t, { leaving });
  await ended;
  assert.equal(setTimeout.mock.callCount(), 0);
});
