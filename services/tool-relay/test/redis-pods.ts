import type { RedisServer, Teardown } from '@zerolatency/testing';
import { Redis } from 'ioredis';
import { RedisDirectory } from '../src/adapters/redis-directory/redis-directory.ts';
import { RedisStore } from '../src/adapters/redis-directory/redis-store.ts';
import { readRelayConfig } from '../src/config.ts';
import type { PodAddress, StoreOperation } from '../src/directory/directory.ts';
import type { Clock, Log } from '../src/ports.ts';
import { silentLog } from './parts.ts';

/** The same in every test; Redis counts the time by itself. */
export const TTL_MS = 60_000;

export interface RedisPodOptions {
  readonly relayId?: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly secrets?: ConstructorParameters<typeof RedisStore>[0]['secrets'];
  readonly clock?: Pick<Clock, 'unixMs'>;
  readonly ttlMs?: number;
  readonly log?: Log;
  readonly onRecovered?: () => void;
  readonly onDisplaced?: (error: Error) => void;
}

/** The directory of one pod, as app/ puts it together. */
export function redisPod(
  t: Teardown,
  servers: readonly Pick<RedisServer, 'port'>[],
  options: RedisPodOptions = {},
) {
  const { relayId = 'relay-1', clock = { unixMs: () => Date.now() }, log = silentLog } = options;
  const {
    directory: { redis: settings },
  } = readRelayConfig({
    env: {},
    flags: {
      tls: { certFile: 'cert.pem', keyFile: 'key.pem', caFile: 'ca.pem' },
      'enrolment.jwksFile': 'keys.json',
      'directory.redis.nodes': servers.map(({ port }) => `localhost:${port}`),
      // Only what a test stops is to be late, and not what a busy machine delays.
      'directory.redis.commandTimeout': '10s',
      ...options.settings,
    },
  });
  const pod = (): PodAddress => ({
    relayId,
    linkUrl: `wss://${relayId}/v1/link`,
    rpcUrl: `https://${relayId}`,
  });
  const counted: Record<string, number> = {};
  const metrics = {
    operation: (operation: StoreOperation, outcome: string) => {
      const name = `${operation} ${outcome}`;
      counted[name] = (counted[name] ?? 0) + 1;
    },
  };
  const store = new RedisStore({
    settings,
    secrets: options.secrets ?? {},
    relayId,
    address: () => pod().rpcUrl,
    clock,
    metrics,
    log,
    onRecovered: options.onRecovered ?? (() => {}),
    onDisplaced: options.onDisplaced ?? (() => {}),
  });
  t.after(() => store.close());
  const { ttlMs = TTL_MS } = options;
  const directory = new RedisDirectory({ store, pod, ttlMs, clock, log });
  return { store, directory, pod, counted };
}

/** Lets time pass for the leases in Redis: all expire earlier by this much. */
export async function advanceRedis(clients: readonly Redis[], ms: number): Promise<void> {
  for (const client of clients) {
    for (const key of await client.keys('zl:*:device:*')) {
      if ((await client.hexists(key, 'expires')) === 1) await client.hincrby(key, 'expires', -ms);
    }
  }
}

export function rawClient(t: Teardown, { port }: Pick<RedisServer, 'port'>): Redis {
  const client = new Redis({ host: '127.0.0.1', port, protocol: 2 });
  client.on('error', () => {});
  t.after(() => client.disconnect());
  return client;
}
