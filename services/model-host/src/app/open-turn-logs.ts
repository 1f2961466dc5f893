import { readFile } from 'node:fs/promises';
import { resolveSecret, type SecretSources } from '@zerolatency/service/config';
import type { Lifecycle } from '@zerolatency/service/lifecycle';
import type { ScriptRunner } from '@zerolatency/service/redis';
import { type Logger, LogThrottle, metric, type Registry } from '@zerolatency/service/telemetry';
import type { AppendResult } from '../adapters/redis-turn-logs/log-writer.ts';
import { PodTurnLogs, type TurnLogs } from '../chat/turn-logs.ts';
import type { HostConfig } from '../config.ts';
import { exposeTurnLogs } from '../metrics.ts';
import { newId } from '../turn/turns.ts';

interface TurnLogsDeps {
  readonly lifecycle: Lifecycle;
  readonly env: SecretSources['env'];
  readonly registry: Registry;
  readonly log: Logger;
}

/** Without Redis a turn can be resumed on the pod that runs it, and on no other. */
export async function openTurnLogs(
  { turnLog }: HostConfig,
  redis: ScriptRunner | undefined,
  { lifecycle, env, registry, log }: TurnLogsDeps,
): Promise<TurnLogs> {
  const { sealing, ...bounds } = turnLog;
  const own = new PodTurnLogs(bounds, () => performance.now());
  exposeTurnLogs(registry, () => own.bytes);
  if (redis === undefined) return own;
  const { RedisTurnLogs } = await import('../adapters/redis-turn-logs/redis-turn-logs.ts');
  const logs = new RedisTurnLogs({
    ...{ redis, own, pod: newId(), onAppend: watchAppends(registry, log) },
    sealing: await readSealing(sealing, env),
  });
  lifecycle.onDrain('turn logs', () => logs.close());
  return logs;
}

/** @throws ZlError config.invalid for a key that is missing or too short. */
export async function readSealing(
  keys: HostConfig['turnLog']['sealing'],
  env: SecretSources['env'],
) {
  const { Sealing } = await import('../adapters/redis-turn-logs/sealing.ts');
  const sources = { env, readFile: (path: string) => readFile(path, 'utf8') };
  const read = keys.map(async ({ id, secret }) => ({
    id,
    secret: await resolveSecret(secret, sources),
  }));
  return new Sealing(await Promise.all(read));
}

const TROUBLES: Partial<Record<AppendResult, string>> = {
  failed: 'events of a turn were not copied to Redis; tried again',
  fenced:
    'another pod has ended the copy of a turn in Redis, because this pod gave no sign of life',
  lost: 'a turn can be resumed on this pod only, because Redis took its events too slowly',
};

function watchAppends(registry: Registry, log: Logger): (result: AppendResult) => void {
  const appends = metric(registry, 'zl_host_turn_log_appends_total');
  const throttle = new LogThrottle(1);
  return (result) => {
    appends.labels({ result }).inc();
    const trouble = TROUBLES[result];
    if (trouble === undefined) return;
    const unlogged = throttle.take(result, performance.now());
    if (unlogged !== undefined) log.warn({ ...(unlogged > 0 && { unlogged }) }, trouble);
  };
}
