import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { after, type TestContext, test } from 'node:test';
import {
  eventually,
  makeAuthority,
  needsRedis,
  type RedisServer,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { type RedisPodOptions, rawClient, redisPod } from '../../../test/redis-pods.ts';
import type { DeviceDescription } from '../../directory/directory.ts';

const LAPTOP = { tenant: 'north', deviceId: 'laptop' };
const KEY = 'zl:{north}:device:laptop';
const INDEX = 'zl:{north}:devices';
const ALL = { after: '', limit: 10 };
const description: DeviceDescription = {
  connectedUnixMs: 1,
  bridgeVersion: '1',
  features: [],
  catalogDigest: 'A'.repeat(43),
};

const dirs = { after: (fn: () => unknown) => after(fn) };
let shared: Promise<RedisServer> | undefined;
after(async () => (await shared)?.stop());

async function openPod(t: TestContext, options: RedisPodOptions = {}) {
  shared ??= startRedis({ dir: tempDir(dirs) });
  const server = await shared;
  const raw = rawClient(t, server);
  await raw.flushall();
  const pod = redisPod(t, [server], options);
  await pod.store.open();
  return { ...pod, raw, server };
}

test('[RLY-02] a lease in Redis ends by the clock of Redis', needsRedis(), async (t) => {
  const { directory } = await openPod(t, { ttlMs: 200 });
  const { lease } = await directory.acquire(LAPTOP, description);
  await eventually(async () => (await directory.locate(LAPTOP)) === undefined);
  assert.deepEqual(await directory.renew([lease]), []);
});

test(
  '[RLY-02] an older lease does not come back after a newer one was released',
  needsRedis(),
  async (t) => {
    const { directory } = await openPod(t);
    const { lease: stalled } = await directory.acquire(LAPTOP, description);
    const { lease } = await directory.acquire(LAPTOP, description);
    await directory.release(lease);
    assert.deepEqual(await directory.renew([stalled]), [stalled]);
    assert.equal(await directory.locate(LAPTOP), undefined);
  },
);

test(
  '[RLY-02] keys of other types, and epochs that nobody gave out, heal',
  needsRedis(),
  async (t) => {
    const { directory, raw } = await openPod(t);
    const spoil = async () => {
      await raw.del(KEY, INDEX);
      await raw.set(KEY, 'nonsense');
      await raw.set(INDEX, 'nonsense');
    };
    await spoil();
    assert.equal(await directory.locate(LAPTOP), undefined);
    await spoil();
    assert.deepEqual(await directory.list('north', ALL), []);
    await spoil();
    const { lease } = await directory.acquire(LAPTOP, description);
    assert.equal((await directory.list('north', ALL)).length, 1);
    await spoil();
    assert.deepEqual(await directory.renew([lease]), []);
    assert.equal((await directory.locate(LAPTOP))?.epoch, lease.epoch);
    await spoil();
    await directory.release(lease);
    for (const epoch of ['1e300', 'nan', 'inf', '-1', 'nonsense', '']) {
      await raw.hset(KEY, { last: epoch, epoch, over: epoch });
      assert.deepEqual(await directory.renew([lease]), [], epoch);
      await raw.hset(KEY, { last: epoch, epoch, over: epoch });
      const next = await directory.acquire(LAPTOP, description);
      assert.ok(Number.isSafeInteger(next.lease.epoch) && next.lease.epoch > lease.epoch, epoch);
    }
  },
);

test(
  '[RLY-02] a lease that another release wrote is not taken for another, nor for none',
  needsRedis(),
  async (t) => {
    const lines: string[] = [];
    const warn = (fields: object) => lines.push(JSON.stringify(fields));
    const log = { debug() {}, info() {}, warn, error() {} };
    const { directory, raw } = await openPod(t, { log });
    await directory.acquire(LAPTOP, description);
    await directory.acquire({ tenant: 'north', deviceId: 'other' }, description);
    const entry = JSON.parse((await raw.hget(KEY, 'entry')) ?? '');
    // A later release may add what this one does not know.
    await raw.hset(KEY, 'entry', JSON.stringify({ ...entry, region: 'west' }));
    assert.equal((await directory.locate(LAPTOP))?.relayId, 'relay-1');
    for (const [changed, why] of [
      [{ v: 2 }, /its version is 2 and not 1/],
      [{ relayId: 'a b' }, /relayId/],
      [{ linkUrl: 'ws://relay-1/v1/link' }, /linkUrl/],
      [{ linkUrl: 'wss://user@relay-1/v1/link' }, /linkUrl/],
      [{ linkUrl: 'wss://relay-1/v1/link?to=other' }, /linkUrl/],
      [{ rpcUrl: 'http://relay-1' }, /rpcUrl/],
      [{ rpcUrl: 'https://relay-1/path' }, /rpcUrl/],
      [{ connectedUnixMs: 'now' }, /connectedUnixMs/],
      [{ features: [7] }, /features/],
      [{ catalogDigest: '' }, /catalogDigest/],
    ] as const) {
      await raw.hset(KEY, 'entry', JSON.stringify({ ...entry, ...changed }));
      await assert.rejects(directory.locate(LAPTOP), { id: 'directory.degraded', message: why });
      const listed = await directory.list('north', ALL);
      assert.deepEqual(
        listed.map(({ deviceId }) => deviceId),
        ['other'],
      );
      assert.match(lines.at(-1) ?? '', why);
    }
    await raw.hset(KEY, 'entry', '[]');
    const acquired = await directory.acquire(LAPTOP, description);
    assert.equal(acquired.replaced, undefined);
  },
);

test(
  '[RLY-02] a failover that forgets the last second of writes repeats no epoch',
  needsRedis(),
  async (t) => {
    const { directory, raw, server } = await openPod(t);
    const replica = await startRedis({
      dir: tempDir(t),
      config: [`replicaof 127.0.0.1 ${server.port}`],
    });
    t.after(() => replica.stop());
    const { lease: known } = await directory.acquire(LAPTOP, description);
    const replicated = rawClient(t, replica);
    await eventually(async () => (await replicated.exists(KEY)) === 1);
    await replicated.replicaof('NO', 'ONE');
    // What follows is lost.
    const { lease: forgotten } = await directory.acquire(LAPTOP, description);
    const desktop = { tenant: 'north', deviceId: 'desktop' };
    const { lease: elsewhere } = await directory.acquire(desktop, description);
    await raw.flushall();

    const promoted = redisPod(t, [replica], { relayId: 'relay-2' });
    await promoted.store.open();
    assert.equal((await promoted.directory.locate(LAPTOP))?.epoch, known.epoch);
    const { lease: next } = await promoted.directory.acquire(LAPTOP, description);
    assert.ok(next.epoch > forgotten.epoch);
    assert.deepEqual(await promoted.directory.renew([forgotten, elsewhere]), [forgotten]);
    assert.equal((await promoted.directory.locate(desktop))?.epoch, elsewhere.epoch);
  },
);

test(
  '[RLY-08] [OPS-05] speaks TLS as a user of its own, and says what is wrong with either',
  needsRedis(),
  async (t) => {
    const dir = tempDir(t);
    const authority = await makeAuthority(dir);
    const tls = await authority.server('redis', { hosts: ['localhost'] });
    const user =
      'user relay on >secret ~zl:* -@all +@read +@write +@scripting +@connection +info +time';
    const server = await startRedis({ dir, tls, config: ['user default off', user] });
    t.after(() => server.stop());
    const settings = { 'directory.redis.username': 'relay' };
    const secrets = { password: 'secret', ca: authority.ca };
    const { store, directory } = redisPod(t, [server], { settings, secrets });
    await store.open();
    await directory.acquire(LAPTOP, description);
    assert.equal((await directory.locate(LAPTOP))?.relayId, 'relay-1');
    assert.equal((await directory.list('north', ALL)).length, 1);

    const stranger = await makeAuthority(dir);
    for (const [wrong, why] of [
      [{ ...secrets, password: 'guess' }, /WRONGPASS/],
      [{ password: 'secret', ca: stranger.ca }, /certificate/],
    ] as const) {
      const refused = redisPod(t, [server], { relayId: 'relay-2', settings, secrets: wrong });
      await refused.store.open();
      const { state } = refused.store;
      assert.match(state.name === 'degraded' ? state.why : state.name, why);
    }
  },
);

test('[RLY-08] a server that answers nonsense is a Redis that is away', needsRedis(), async (t) => {
  for (const nonsense of [
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    '$-7\r\n*1\r\n',
    '+OK\r\n'.repeat(1000),
  ]) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => socket.write(nonsense));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const sockets = new Set<{ destroy(): void }>();
    server.on('connection', (socket) => sockets.add(socket));
    const settings = { 'directory.redis.commandTimeout': '200ms' };
    const { port } = server.address() as AddressInfo;
    const { store, directory } = redisPod(t, [{ port }], { settings });
    await store.open();
    await assert.rejects(directory.acquire(LAPTOP, description), { id: 'directory.degraded' });
    assert.equal(store.state.name, 'degraded');
    store.close();
    server.close();
    for (const socket of sockets) socket.destroy();
  }
});

test(
  '[RLY-02] lists a thousand devices in order, and drops the ids of expired leases on the way',
  needsRedis(),
  async (t) => {
    const { directory, raw } = await openPod(t);
    const leases = Array.from({ length: 1600 }, (_, index) => ({
      ...LAPTOP,
      ...description,
      deviceId: `device-${String(index).padStart(4, '0')}`,
      epoch: Date.now(),
    }));
    for (let start = 0; start < leases.length; start += 400) {
      assert.deepEqual(await directory.renew(leases.slice(start, start + 400)), []);
    }
    const listed = await directory.list('north', { after: 'device-0499', limit: 1001 });
    assert.deepEqual(
      [listed.length, listed[0]?.deviceId, listed.at(-1)?.deviceId],
      [1001, 'device-0500', 'device-1500'],
    );
    for (const key of await raw.keys('zl:*:device:*')) await raw.hset(key, 'expires', 0);
    await directory.renew(leases.slice(-3));
    assert.equal((await directory.list('north', ALL)).length, 3);
    assert.equal(await raw.zcard(INDEX), 3);
  },
);
