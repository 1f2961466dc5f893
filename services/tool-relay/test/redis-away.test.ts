import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Client, ConnectError } from '@connectrpc/connect';
import { RelayService } from '@zerolatency/proto/relay';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually, type FaultProxy, needsRedis } from '@zerolatency/testing';
import { type Pod, pool } from './pool.ts';
import { rawClient } from './redis-pods.ts';

/** The relay that a pod names as the owner of a device, or the id of its error. */
async function ownerBy(rpc: Client<typeof RelayService>, deviceId: string): Promise<string> {
  try {
    return (await rpc.locate({ tenant: 'north', deviceId })).relayId;
  } catch (reason) {
    assert.ok(reason instanceof ConnectError);
    return fromConnectError(reason).id;
  }
}

/** What the component report says of the directory. */
async function reportOf({ relay }: Pod): Promise<string> {
  const report = await (await fetch(`${relay.adminUrl}/health`)).text();
  return /\{[^{}]*"name":"directory"[^{}]*\}|"directory":\{[^{}]*\}/.exec(report)?.[0] ?? report;
}

const isDegraded = async (pod: Pod) =>
  /zl_relay_directory_degraded\{[^}]*\} 1/.test(await pod.metrics());

const COMMAND_TIMEOUT_MS = 2_000;

const FAULTS: Record<string, (network: FaultProxy) => void> = {
  unreachable(network) {
    network.refuse();
    network.cut();
  },
  silent: (network) => network.pause(),
  'slower than a command may be': (network) => network.delay(COMMAND_TIMEOUT_MS),
};

for (const [fault, begin] of Object.entries(FAULTS)) {
  test(
    `[RLY-08] pods go on while Redis is ${fault}, and write what happened when it is back`,
    needsRedis(),
    async (t) => {
      const { pods, network, enrolment } = await pool(t, {
        commandTimeout: `${COMMAND_TIMEOUT_MS}ms`,
      });
      const [first, second] = pods as [Pod, Pod];
      const rpcs = await Promise.all(pods.map(({ clients }) => clients.rpc(RelayService)));
      const [atFirst, atSecond] = rpcs as [
        Client<typeof RelayService>,
        Client<typeof RelayService>,
      ];
      const [stays, moves, comes] = await Promise.all(
        ['stays', 'moves', 'comes'].map((deviceId) => enrolment.device({ deviceId })),
      );
      const staying = await first.clients.live(stays!);
      const before = await first.clients.live(moves!);
      assert.equal(await ownerBy(atSecond, 'stays'), 'relay-1');
      assert.equal(await ownerBy(atSecond, 'comes'), 'device.offline');
      assert.match(await reportOf(first), /"status":"ok".*"detail":"redis"/);

      begin(network);
      await eventually(async () => (await isDegraded(first)) && (await isDegraded(second)));
      const report = await reportOf(first);
      assert.match(report, /"status":"degraded".*"detail":"without redis since \d{4}-.*Z: ./);

      // What a pod knows it says; what it does not know is not "offline".
      assert.equal(await ownerBy(atFirst, 'stays'), 'relay-1');
      assert.equal(await ownerBy(atSecond, 'stays'), 'relay-1');
      assert.equal(await ownerBy(atSecond, 'comes'), 'directory.degraded');
      await assert.rejects(atFirst.listDevices({ tenant: 'north' }), /Redis is not available/);
      const after = await second.clients.live(moves!);
      assert.ok(after.epoch > before.epoch);
      assert.equal(await ownerBy(atSecond, 'moves'), 'relay-2');
      await first.clients.live(comes!);
      assert.equal(staying.closed, undefined);

      const backAtMs = performance.now();
      network.refuse(false);
      network.resume();
      network.delay(0);
      await eventually(async () => {
        const known = await atSecond.listDevices({ tenant: 'north' });
        return known.devices.length === 3;
      });
      t.diagnostic(`all leases were back after ${Math.round(performance.now() - backAtMs)} ms`);
      await eventually(async () => (await ownerBy(atFirst, 'moves')) === 'relay-2');
      assert.equal(await ownerBy(atSecond, 'comes'), 'relay-1');
      assert.deepEqual(await before.end(), { code: 4409, reason: 'device.superseded' });
      assert.equal(staying.closed, undefined);
      assert.equal(await isDegraded(first), false);
    },
  );
}

test(
  '[RLY-08] a Redis that was emptied has every lease again after a renewal, and no session ends',
  needsRedis(),
  async (t) => {
    const { pods, redis, enrolment } = await pool(t, { size: 1 });
    const [pod] = pods as [Pod];
    const rpc = await pod.clients.rpc(RelayService);
    const clients = [];
    for (const deviceId of ['a', 'b', 'c']) {
      clients.push(await pod.clients.live(await enrolment.device({ deviceId })));
    }
    const raw = rawClient(t, redis);
    // A renewal may come between the two.
    await eventually(async () => {
      await raw.flushall();
      return (await ownerBy(rpc, 'b')) === 'device.offline';
    });
    await eventually(async () => (await rpc.listDevices({ tenant: 'north' })).devices.length === 3);
    assert.deepEqual(
      clients.map(({ closed }) => closed),
      [undefined, undefined, undefined],
    );
    const { devices } = await rpc.listDevices({ tenant: 'north' });
    assert.deepEqual(
      devices.map(({ epoch }) => Number(epoch)),
      clients.map(({ epoch }) => epoch),
    );
  },
);

test(
  '[RLY-08] a device that states its last epoch gets a larger one, with and without Redis',
  needsRedis(),
  async (t) => {
    const { pods, network, enrolment } = await pool(t, { commandTimeout: '2s' });
    const [pod] = pods as [Pod, Pod];
    const ahead = Date.now() + 3_600_000;
    const known = await pod.clients.live(await enrolment.device({ deviceId: 'known' }), {
      lastEpoch: BigInt(ahead),
    });
    assert.equal(known.epoch, ahead + 1);
    network.refuse();
    network.cut();
    await eventually(() => isDegraded(pod));
    const cutOff = await pod.clients.live(await enrolment.device({ deviceId: 'cut-off' }), {
      lastEpoch: BigInt(ahead),
    });
    assert.equal(cutOff.epoch, ahead + 1);
  },
);
