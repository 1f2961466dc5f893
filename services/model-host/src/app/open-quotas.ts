import type { ScriptRunner } from '@zerolatency/service/redis';
import type { Registry } from '@zerolatency/service/telemetry';
import { RedisQuotas } from '../adapters/redis-quotas/redis-quotas.ts';
import type { HostConfig } from '../config.ts';
import { Quotas } from '../limits/quotas.ts';
import { Rules } from '../limits/rules.ts';
import { TurnSlots } from '../limits/turn-slots.ts';
import { exposeWaiting, queueWaits, quotaMetrics } from '../metrics.ts';
import type { HostDeps } from './open-tools.ts';

/** Open turns of a pod that died count for so long. */
const LEASE_MS = 15_000;

export function openQuotas(
  { tenants, users, pods, redisTimeoutMs: timeoutMs }: HostConfig['limits'],
  {
    redis,
    lifecycle,
    log,
    registry,
  }: Pick<HostDeps, 'lifecycle' | 'log' | 'registry'> & {
    readonly redis: ScriptRunner | undefined;
  },
): Quotas {
  const leaseMs = LEASE_MS;
  const store = redis && new RedisQuotas({ redis, timeoutMs, leaseMs });
  const rules = new Rules({ tenants, users });
  const metrics = quotaMetrics(registry);
  const quotas = new Quotas({ rules, store, pods, leaseMs, metrics, log });
  lifecycle.onDrain('quotas', async () => quotas.close());
  return quotas;
}

export function openTurnSlots(
  { turns, queue }: HostConfig['limits'],
  registry: Registry,
): TurnSlots {
  const slots = new TurnSlots({ limits: turns, queue, onWaited: queueWaits(registry) });
  exposeWaiting(registry, () => slots.waiting);
  return slots;
}
