import type { ComponentCheck } from '@zerolatency/service/lifecycle';
import {
  type RedisSettings,
  readRedisSecrets,
  type ScriptRunner,
} from '@zerolatency/service/redis';
import type { HostDeps } from './open-tools.ts';

export interface OpenedRedis {
  readonly redis: ScriptRunner;
  readonly component: ComponentCheck;
}

/** One connection for all that pods share. Undefined for a pod that is alone. */
export async function openRedis(
  settings: RedisSettings | undefined,
  { env, lifecycle }: Pick<HostDeps, 'env' | 'lifecycle'>,
): Promise<OpenedRedis | undefined> {
  if (settings === undefined) return undefined;
  // A pod that is alone starts without a Redis client.
  const { connectRedis } = await import('@zerolatency/service/redis-client');
  const redis = connectRedis(settings, await readRedisSecrets(settings, env));
  lifecycle.onDrain('redis', async () => redis.close());
  return { redis, component: async () => statusOf(redis) };
}

function statusOf({ fault }: ScriptRunner) {
  if (fault === undefined) return { status: 'ok' as const };
  return { status: 'degraded' as const, detail: `this pod goes on by itself: ${fault}` };
}
