import type { ZlError } from '@zerolatency/errors';
import type { ComponentCheck } from '@zerolatency/service/lifecycle';
import { readRedisSecrets } from '@zerolatency/service/redis';
import { MemoryDirectory } from '../adapters/memory-directory/memory-directory.ts';
import { RedisDirectory } from '../adapters/redis-directory/redis-directory.ts';
import { RedisPods } from '../adapters/redis-directory/redis-pods.ts';
import type { RelayConfig } from '../config.ts';
import {
  DegradableDirectory,
  type DegradableDirectoryOptions,
} from '../directory/degradable-directory.ts';
import type { Directory, PodAddress } from '../directory/directory.ts';
import type { RelayMeters } from '../metrics.ts';
import type { Clock, Log } from '../ports.ts';
import type { PodRegister } from '../sharding/sharding.ts';

export interface OpenedDirectory {
  readonly directory: Directory;
  readonly component: ComponentCheck;
  isDegraded(): boolean;
  /** Undefined where a pod is alone. */
  readonly pods: PodRegister | undefined;
  /** Resolves when this pod may serve under its relay id. */
  claim(): Promise<void>;
  close(): Promise<void>;
}

export interface DirectoryParts {
  readonly pod: () => PodAddress;
  readonly ownLease: DegradableDirectoryOptions['ownLease'];
  readonly clock: Clock;
  readonly meters: RelayMeters;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onRecovered: () => void;
  readonly onDisplaced: (error: ZlError) => void;
}

export async function openDirectory(
  config: RelayConfig,
  parts: DirectoryParts,
): Promise<OpenedDirectory> {
  const { pod, clock } = parts;
  const { leaseTtlMs: ttlMs } = config;
  if (config.directory.engine === 'redis') return openRedis(config, parts);
  return {
    directory: new MemoryDirectory({ pod, ttlMs, clock }),
    component: async () => ({ status: 'ok', detail: 'memory' }),
    isDegraded: () => false,
    pods: undefined,
    claim: async () => {},
    close: async () => {},
  };
}

async function openRedis(config: RelayConfig, parts: DirectoryParts): Promise<OpenedDirectory> {
  const { relayId, leaseTtlMs: ttlMs } = config;
  const { pod, ownLease, clock, meters, log } = parts;
  // A pod with the directory in memory starts without a Redis client.
  const { RedisStore } = await import('../adapters/redis-directory/redis-store.ts');
  const store = new RedisStore({
    settings: config.directory.redis,
    secrets: await readRedisSecrets(config.directory.redis, parts.env),
    relayId,
    address: () => pod().rpcUrl,
    clock,
    log,
    metrics: {
      operation: (operation, outcome) => meters.directoryOperation(operation, outcome),
    },
    onRecovered: parts.onRecovered,
    onDisplaced: parts.onDisplaced,
  });
  const directory = new RedisDirectory({ store, pod, ttlMs, clock, log });
  return {
    directory: new DegradableDirectory({ directory, pod, ownLease, clock }),
    component: async () => {
      const { state } = store;
      if (state.name !== 'degraded') return { status: 'ok', detail: 'redis' };
      const since = new Date(state.sinceUnixMs).toISOString();
      return { status: 'degraded', detail: `without redis since ${since}: ${state.why}` };
    },
    pods: new RedisPods(store, log),
    isDegraded: () => store.state.name === 'degraded',
    claim: () => store.open(),
    close: () => store.leave(),
  };
}
