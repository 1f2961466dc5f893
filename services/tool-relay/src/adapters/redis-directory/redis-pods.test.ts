import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { needsRedis, type RedisServer, startRedis, tempDir } from '@zerolatency/testing';
import { type RedisPodOptions, rawClient, redisPod } from '../../../test/redis-pods.ts';
import { RedisPods } from './redis-pods.ts';

const dirs = { after: (fn: () => unknown) => after(fn) };
let shared: Promise<RedisServer> | undefined;
after(async () => (await shared)?.stop());

async function register(t: TestContext, options: RedisPodOptions = {}) {
  shared ??= startRedis({ dir: tempDir(dirs) });
  const server = await shared;
  const lines: string[] = [];
  const log = {
    debug() {},
    info() {},
    error() {},
    warn: (fields: object) => void lines.push(JSON.stringify(fields)),
  };
  const { store, pod } = redisPod(t, [server], options);
  await store.open();
  const pods = new RedisPods(store, log);
  const own = { ...pod(), deviceUrl: `wss://${pod().relayId}/v1/device` };
  const announce = async (ttlMs = 6_000) =>
    (await pods.announce(own, ttlMs)).map(({ relayId }) => relayId).sort();
  return { announce, own, pods, lines, raw: rawClient(t, server) };
}

test(
  '[RLY-03] pods read each other until they leave or their time is over',
  needsRedis(),
  async (t) => {
    const one = await register(t, { relayId: 'relay-1' });
    await one.raw.flushall();
    const two = await register(t, { relayId: 'relay-2' });
    assert.deepEqual(await one.announce(), ['relay-1']);
    assert.deepEqual(await two.announce(), ['relay-1', 'relay-2']);
    assert.deepEqual(new Set(await two.pods.announce(two.own, 6_000)), new Set([one.own, two.own]));
    await two.pods.leave('relay-2');
    assert.deepEqual(await one.announce(), ['relay-1']);
    const value = await one.raw.hget('zl:pods', 'relay-1');
    await one.raw.hset('zl:pods', 'relay-1', `1 ${value?.split(' ')[1]}`);
    assert.deepEqual(await two.announce(), ['relay-2']);
    assert.deepEqual(await one.raw.hkeys('zl:pods'), ['relay-2']);
  },
);

test(
  '[RLY-03] what no pod wrote among the pods is not read, and a flood of it goes at once',
  needsRedis(),
  async (t) => {
    const { announce, own, lines, raw } = await register(t, { relayId: 'relay-3' });
    await raw.flushall();
    const soon = Date.now() + 30_000;
    const poison = (changed: object) =>
      `${soon} ${JSON.stringify({ v: 1, ...own, relayId: 'x', ...changed })}`;
    await raw.hset('zl:pods', {
      garbage: 'garbage',
      empty: '',
      timeless: JSON.stringify(own),
      forever: poison({ relayId: 'forever' }).replace(/^\d+/, '9999999999999'),
      long: poison({ relayId: 'long', more: 'x'.repeat(5_000) }),
      plain: poison({ relayId: 'plain', deviceUrl: 'http://attacker/v1/device' }),
      user: poison({ relayId: 'user', deviceUrl: 'wss://a@attacker/v1/device' }),
      later: poison({ relayId: 'later', v: 2 }),
      other: poison({ relayId: 'relay-3' }),
      json: `${soon} []`,
    });
    assert.deepEqual(await announce(), ['relay-3']);
    await announce();
    assert.deepEqual(lines, ['{"count":5,"first":"json: it is not a JSON object"}']);
    const left = await raw.hkeys('zl:pods');
    for (const gone of ['garbage', 'empty', 'timeless', 'forever', 'long'])
      assert.ok(!left.includes(gone), gone);

    const flood: Record<string, string> = {};
    for (let n = 0; n < 100_000; n++) flood[`pod-${n}`] = '1';
    await raw.hset('zl:pods', flood);
    assert.deepEqual(await announce(), ['relay-3']);
    assert.equal(await raw.hlen('zl:pods'), 1);
    await raw.set('zl:pods', 'nonsense');
    assert.deepEqual(await announce(), ['relay-3']);
  },
);
