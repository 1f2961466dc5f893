import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { RedirectSchema } from '@zerolatency/proto/bridge';
import { eventually, needsRedis } from '@zerolatency/testing';
import { podsOf, shardOf } from '../src/sharding/shard-of.ts';
import type { DeviceClient } from './device-client.ts';
import { type Pod, pool } from './pool.ts';

const sharding = { width: 2, settle: '100ms', movesPerSecond: 1_000 };
const IDS = ['relay-1', 'relay-2', 'relay-3'];
/** A device that belongs to one pod of three, and to another while there are two. */
function ownedBy({ ofThree, ofTwo }: { readonly ofThree: string; readonly ofTwo: string }) {
  for (let n = 0; ; n++) {
    const device = { tenant: 'north', deviceId: `device-${n}` };
    const owners = [IDS, IDS.slice(0, 2)].map((among) => shardOf(device, podsOf(among), 3));
    if (owners[0] === ofThree && owners[1] === ofTwo) return device;
  }
}
const redirectOf = async (client: DeviceClient) =>
  fromBinary(RedirectSchema, (await client.take(FrameKind.REDIRECT)).payload);
const settled = (pods: readonly Pod[], count: number) =>
  eventually(
    async () => {
      const pages = await Promise.all(pods.map((pod) => pod.metrics()));
      return pages.every((page) =>
        new RegExp(`^zl_relay_pods\\{[^}]*\\} ${count}$`, 'm').test(page),
      );
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
const deviceUrl = ({ relay }: Pod) => `${relay.socketUrl}/v1/device`;

test(
  '[RLY-03] pods find each other, redirect and move devices, and go on without Redis',
  needsRedis(),
  async (t) => {
    const { pods, start, enrolment, network } = await pool(t, {
      sharding: { ...sharding, width: 3 },
    });
    const [first, second] = pods as [Pod, Pod];
    await settled(pods, 2);
    const far = await enrolment.device(ownedBy({ ofThree: 'relay-2', ofTwo: 'relay-2' }));
    const features = ['redirect'];

    const arriving = first.clients.dialDevice();
    await arriving.prove(far, { features });
    const { url, withinMs } = await redirectOf(arriving);
    assert.deepEqual([url, withinMs], [deviceUrl(second), 0]);
    assert.equal((await arriving.end()).code, 1000);
    const there = second.clients.dialDevice(new URL(url).origin);
    await there.prove(far, { features, noRedirect: true });
    await there.welcome();

    // Neither an older bridge nor one that was redirected before is sent on.
    const older = await first.clients.live(far);
    assert.ok(older.epoch > there.epoch);
    await first.clients.live(far, { features, noRedirect: true });

    // While live it is told once a third pod has settled, if it belongs there.
    const moving = await enrolment.device(ownedBy({ ofThree: 'relay-3', ofTwo: 'relay-1' }));
    const live = await first.clients.live(moving, { features, noRedirect: true });
    const third = await start('relay-3');
    await settled([first, second, third], 3);
    assert.equal((await redirectOf(live)).url, deviceUrl(third));
    const { epoch } = await third.clients.live(moving, { features, noRedirect: true });
    assert.ok(epoch > live.epoch);
    live.native.close();
    await eventually(async () => /zl_relay_moved_total\{[^}]*\} 1$/m.test(await first.metrics()));

    // Devices are not sent to a pod that shuts down, and without Redis to none.
    await third.lifecycle.shutdown({ reason: 'test', deadlineMs: 100 });
    await settled([first, second], 2);
    await first.clients.live(moving, { features });
    network.refuse();
    network.cut();
    await eventually(async () =>
      /zl_relay_directory_degraded\{[^}]*\} 1/.test(await first.metrics()),
    );
    await eventually(
      async () => {
        const client = first.clients.dialDevice();
        await client.prove(far, { features });
        await eventually(() => client.frames.length > 0);
        return client.frames.some(({ kind }) => kind === FrameKind.WELCOME);
      },
      { timeoutMs: 30_000 },
    );
    await settled([first, second], 2);
  },
);
