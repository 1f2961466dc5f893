import type { TestContext } from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import {
  faultProxy,
  freePort,
  makeAuthority,
  makeEnrolment,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { relayWorld } from './relay-world.ts';

export type Pod = Awaited<ReturnType<typeof relayWorld>>;

interface PoolOptions {
  readonly size?: number;
  readonly commandTimeout?: string;
  /** Gives each pod an address of its own for devices. */
  readonly sharding?: { readonly [setting: string]: JsonValue };
}

/** Relays of this process that share a Redis, behind a network that fails on demand. */
export async function pool(
  t: TestContext,
  { size = 2, commandTimeout = '10s', sharding }: PoolOptions = {},
) {
  const dir = tempDir(t);
  const redis = await startRedis({ dir });
  const network = await faultProxy({ target: redis });
  t.after(async () => {
    await network.close();
    await redis.stop();
  });
  const surroundings = { authority: await makeAuthority(dir), enrolment: await makeEnrolment(dir) };
  const settings = {
    'directory.engine': 'redis',
    'directory.redis.nodes': [`127.0.0.1:${network.port}`],
    'directory.redis.commandTimeout': commandTimeout,
    'lease.ttl': '6s',
  };
  const start = async (relayId: string) => {
    if (sharding === undefined) return relayWorld(t, { relayId, surroundings, settings });
    const port = await freePort();
    const own = { 'sockets.port': port, 'sockets.deviceUrl': `wss://localhost:${port}` };
    return relayWorld(t, { relayId, surroundings, settings: { ...settings, ...own, sharding } });
  };
  const pods: Pod[] = [];
  for (let index = 1; index <= size; index++) pods.push(await start(`relay-${index}`));
  return { redis, network, pods, start, ...surroundings };
}
