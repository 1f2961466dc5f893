import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { ConnectError } from '@connectrpc/connect';
import { RetryInfoSchema } from '@zerolatency/proto/error-details';
import { fromConnectError } from '@zerolatency/service/rpc';
import {
  eventually,
  needsRedis,
  type RedisServer,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { startTestHost, type TestHost } from './support/host.ts';
import { eventsOf, only, start } from './support/streams.ts';

const HOUR = { per: '1h' };
const RULES = `
- when: { text: hang }
  reply: [{ text: thinking }, { hang: true }]
- reply: [{ text: hello }]
`;

let shared: Promise<RedisServer> | undefined;
const sharedRedis = () => {
  shared ??= startRedis({ dir: tempDir({ after }) });
  return shared;
};
after(async () => (await shared)?.stop());

async function startPods(t: TestContext, pods: number, limits: object): Promise<TestHost[]> {
  const { port } = await sharedRedis();
  const redis = { nodes: [`127.0.0.1:${port}`], commandTimeout: '10s' };
  const settings = { redis, limits: { redisTimeout: '10s', ...limits } };
  return Promise.all(
    Array.from({ length: pods }, () => startTestHost(t, { rules: RULES, settings })),
  );
}

/** A token of one user; the hosts of a test have an issuer each. */
const tokenOf = (host: TestHost, tenant: string, claims = {}) =>
  host.issuer.token({ tenant, user: 'one', claims });

/** Its last event, or the error of its RPC. */
async function endingOf(events: Parameters<typeof eventsOf>[0]): Promise<string | ConnectError> {
  try {
    return (await eventsOf(events)).at(-1)?.event.case ?? 'nothing';
  } catch (reason) {
    assert.ok(reason instanceof ConnectError, String(reason));
    return reason;
  }
}

function assertRefused(ending: string | ConnectError, limit: RegExp, leastS: number): void {
  assert.ok(ending instanceof ConnectError, `it ended as ${String(ending)}`);
  const error = fromConnectError(ending);
  assert.equal(error.id, 'limit.exceeded');
  assert.match(error.message, limit);
  const delayS = Number(ending.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds);
  assert.ok(delayS >= leastS && delayS <= 2 * leastS, `${delayS} s`);
  assert.ok(Number(ending.metadata.get('retry-after')) >= leastS);
}

async function metricOf({ addresses }: TestHost, name: string, labels: string): Promise<number> {
  const text = await (await fetch(`${addresses.admin}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(name) && each.includes(labels));
  return Number(line?.split(' ').at(-1) ?? 0);
}

test(
  '[HOST-12] [HOST-14] two pods admit the turns of one limit, and every kind of turn is told when to come back',
  needsRedis(),
  async (t) => {
    const [one, two] = await startPods(t, 2, {
      users: { default: { requests: { amount: 6, burst: 3, ...HOUR } } },
    });
    assert.ok(one && two);
    // Claims other than the user make no other user.
    const client = async (host: TestHost, jti: string) =>
      host.client('grpc', await tokenOf(host, 'requests', { jti }));
    const chat = async (host: TestHost, jti: string) =>
      endingOf((await client(host, jti)).chat({ start: { text: 'hi' } }));
    assert.deepEqual(
      [await chat(one, 'a'), await chat(two, 'b')],
      ['assistantDone', 'assistantDone'],
    );
    const stream = (await client(one, 'c')).streamChat(only(start({ text: 'hi' })));
    assert.equal(await endingOf(stream), 'assistantDone');

    const limit = /limits\.users\.default\.requests is 6 per 1h with a burst of 3/;
    for (const protocol of ['grpc', 'connect'] as const) {
      for (const host of [one, two]) {
        const refused = host.client(protocol, await tokenOf(host, 'requests', { jti: 'd' }));
        assertRefused(await endingOf(refused.chat({ start: { text: 'hi' } })), limit, 590);
        assertRefused(await endingOf(refused.callTool({ tool: 'fs.read' })), limit, 590);
        const stream = refused.streamChat(only(start({ text: 'hi' })));
        assertRefused(await endingOf(stream), limit, 590);
      }
    }
    const refusals = 'owner="user",limit="requests"';
    assert.equal(await metricOf(two, 'zl_host_limit_refusals_total', refusals), 6);
    const cached = 'by="cache",result="refused"';
    assert.equal(await metricOf(two, 'zl_host_limit_decisions_total', cached), 5);
    assert.equal((await chat(one, 'e')) instanceof ConnectError, true);
    const other = one.client('grpc', await one.issuer.token({ tenant: 'requests', user: 'two' }));
    assert.equal(await endingOf(other.chat({ start: { text: 'hi' } })), 'assistantDone');
  },
);

test(
  '[HOST-12] a model call gets no more output tokens than the limit has, and what it leaves comes back',
  needsRedis(),
  async (t) => {
    const [host] = await startPods(t, 1, {
      tenants: { tokens: { outputTokens: { amount: 1000, per: '100s', burst: 100 } } },
    });
    assert.ok(host);
    const client = host.client('grpc', await tokenOf(host, 'tokens'));
    const chat = () => endingOf(client.chat({ start: { text: 'hi' } }));
    // Each reserves the whole burst and leaves most of it.
    await eventually(async () => (await chat()) === 'assistantDone');
    await eventually(async () => (await chat()) === 'assistantDone');
    await eventually(async () => {
      const hanging = client.chat({ start: { text: 'hang' } })[Symbol.asyncIterator]();
      const first = await hanging.next().catch(() => undefined);
      return first?.value?.event?.event.case === 'assistantDelta';
    });
    const ending = await chat();
    assert.ok(ending instanceof ConnectError);
    assert.match(ending.message, /limits\.tenants\.tokens\.outputTokens is 1000 per 100s/);
  },
);

test('[HOST-12] a turn waits for a slot, its last event says how long, and a client that leaves waits no more', async (t) => {
  const settings = { limits: { turnsPerPod: 1, queue: { turns: 2, maxWait: '1m' } } };
  const host = await startTestHost(t, { rules: RULES, settings });
  const client = host.client('grpc', await host.issuer.token());
  const leaving = new AbortController();
  const hanging = client.chat({ start: { text: 'hang' } }, leaving)[Symbol.asyncIterator]();
  await hanging.next();
  const gone = new AbortController();
  const left = endingOf(client.chat({ start: { text: 'hi' } }, gone));
  const waiting = eventsOf(client.chat({ start: { text: 'hi' } }));
  const waits = () => metricOf(host, 'zl_host_turns_waiting', '');
  await eventually(async () => (await waits()) === 2);
  const full = await endingOf(client.chat({ start: { text: 'hi' } }));
  assert.ok(full instanceof ConnectError);
  assert.match(full.message, /limits\.turnsPerPod is 1 and limits\.queue\.turns is 2/);
  gone.abort();
  await left;
  await eventually(async () => (await waits()) === 1);
  leaving.abort();
  const done = (await waiting).at(-1)?.event;
  assert.equal(done?.case, 'assistantDone');
  const { queued, total } = done.value;
  assert.ok(queued !== undefined && total !== undefined);
  assert.ok(queued.nanos > 0 || queued.seconds > 0n);
  assert.ok(
    Number(total.seconds) * 1e9 + total.nanos >= Number(queued.seconds) * 1e9 + queued.nanos,
  );
  assert.equal(await metricOf(host, 'zl_host_turn_queue_seconds_count', 'outcome="left"'), 1);
  assert.equal(await metricOf(host, 'zl_host_turn_queue_seconds_count', 'outcome="granted"'), 1);
});
