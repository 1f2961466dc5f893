import type { TestContext } from 'node:test';
import {
  faultProxy,
  makeAuthority,
  makeEnrolment,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { relayWorld } from './relay-world.ts';

export type Pod = Awaited<ReturnType<typeof relayWorld>>;

/** Relays of this process that share a Redis, behind a network that fails on demand. */
export async function pool(t: TestContext, { size = 2, commandTimeout = '10s' } = {}) {
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
  const start = (relayId: string) => relayWorld(t, { relayId, surroundings, settings });
  const pods: Pod[] = [];
  for (let index = 1; index <= size; index++) pods.push(await start(`relay-${index}`));
  return { redis, network, pods, start, ...surroundings };
}
