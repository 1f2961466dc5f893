import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RelayService } from '@zerolatency/proto/relay';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually, needsRedis } from '@zerolatency/testing';
import { type Pod, pool } from './pool.ts';
import { rawClient } from './redis-pods.ts';

const idOf = async (call: Promise<unknown>) =>
  fromConnectError(await call.catch((e: unknown) => e)).id;

test(
  '[RLY-02] [RLY-04] any pod of a pool locates a device and lists what it offers',
  needsRedis(),
  async (t) => {
    const { pods, enrolment, redis } = await pool(t);
    const [first, second] = pods as [Pod, Pod];
    const catalog = { servers: [{ name: 'fs', tools: [{ name: 'read' }] }] };
    for (const [index, deviceId] of ['a', 'b', 'c', 'd'].entries()) {
      const identity = await enrolment.device({ deviceId });
      await (index % 2 === 0 ? first : second).clients.live(identity, {
        catalog: deviceId === 'd' ? {} : catalog,
      });
    }
    const rpc = await first.clients.rpc(RelayService);
    const found = await rpc.locate({ tenant: 'north', deviceId: 'b' });
    assert.equal(found.relayId, 'relay-2');
    assert.equal(found.linkUrl, `${second.relay.socketUrl}/v1/link`);
    const { devices } = await rpc.listDevices({ tenant: 'north' });
    assert.deepEqual(
      devices.map(({ deviceId, relayId, catalog: offered }) => [
        deviceId,
        relayId,
        offered?.servers.map(({ name }) => name),
      ]),
      [
        ['a', 'relay-1', ['fs']],
        ['b', 'relay-2', ['fs']],
        ['c', 'relay-1', ['fs']],
        ['d', 'relay-2', []],
      ],
    );
    // Redis has digests, and no word of a catalog.
    const raw = rawClient(t, redis);
    const entry = await raw.hget('zl:{north}:device:b', 'entry');
    assert.match(entry ?? '', /"catalogDigest":"[\w-]{43}"/);
    assert.doesNotMatch(entry ?? '', /read/);
  },
);

test(
  '[RLY-04] a pod that does not answer costs a list its catalogs and no device',
  needsRedis(),
  async (t) => {
    const { pods, enrolment, redis } = await pool(t, { size: 1 });
    const [first] = pods as [Pod];
    const device = await enrolment.device({ deviceId: 'far' });
    await first.clients.live(device);
    const raw = rawClient(t, redis);
    const entry = JSON.parse((await raw.hget('zl:{north}:device:far', 'entry')) ?? '');
    const away = { ...entry, relayId: 'relay-9', rpcUrl: 'https://127.0.0.1:1' };
    await raw.hset('zl:{north}:device:far', 'entry', JSON.stringify(away));
    const rpc = await first.clients.rpc(RelayService);
    const { devices } = await rpc.listDevices({ tenant: 'north' });
    assert.deepEqual(
      devices.map(({ deviceId, relayId, catalog }) => [deviceId, relayId, catalog]),
      [['far', 'relay-9', undefined]],
    );
    assert.ok(first.logLines.some((line) => line.includes('catalogs not listed')));
  },
);

test(
  '[RLY-02] the second connection of a device takes over on another pod',
  needsRedis(),
  async (t) => {
    const { pods, enrolment } = await pool(t);
    const [first, second] = pods as [Pod, Pod];
    const identity = await enrolment.device({ deviceId: 'laptop' });
    const old = await first.clients.live(identity);
    const { epoch } = await second.clients.live(identity);
    assert.ok(epoch > old.epoch);
    const rpc = await first.clients.rpc(RelayService);
    assert.equal((await rpc.locate({ tenant: 'north', deviceId: 'laptop' })).relayId, 'relay-2');
    // The next renewal tells the first pod.
    assert.deepEqual(await old.end(), { code: 4409, reason: 'device.superseded' });
    assert.equal((await rpc.locate({ tenant: 'north', deviceId: 'laptop' })).relayId, 'relay-2');
  },
);

test('[RLY-02] a pod whose relay id is in use refuses to start', needsRedis(), async (t) => {
  const { start } = await pool(t, { size: 1 });
  await assert.rejects(start('relay-1'), (error: Error) => {
    assert.match(error.message, /relayId relay-1 is in use by another pod \(.+ https:.+\)/);
    return true;
  });
});

test(
  '[RLY-02] a pod that loses its relay id stops serving, and says why',
  needsRedis(),
  async (t) => {
    const { pods, redis } = await pool(t, { size: 1 });
    const [pod] = pods as [Pod];
    await rawClient(t, redis).set('zl:pod:relay-1', 'somebody https://elsewhere');
    await eventually(() => pod.lifecycle.state === 'failed');
    const { detail } = pod.lifecycle;
    assert.match(String('error' in detail && detail.error), /in use by another pod \(somebody/);
  },
);

test(
  'DescribeDevices answers for the devices of one tenant on this pod, and refuses too many',
  needsRedis(),
  async (t) => {
    const { pods } = await pool(t, { size: 1 });
    const [pod] = pods as [Pod];
    await pod.clients.device('laptop');
    const rpc = await pod.clients.rpc(RelayService, 'tool-relay');
    const describe = (tenant: string, deviceIds: string[]) =>
      rpc.describeDevices({ tenant, deviceIds });
    assert.equal((await describe('north', ['laptop', 'ghost'])).catalogs.length, 1);
    const other = await describe('south', ['laptop']);
    assert.deepEqual([other.catalogs.length, other.described], [0, 1]);
    assert.equal(await idOf(describe('north', [])), 'request.invalid');
    assert.equal(await idOf(describe('north', Array(101).fill('laptop'))), 'request.invalid');
  },
);
