import { readFileSync } from 'node:fs';
import { needsRedis, startRedis, tempDir } from '@zerolatency/testing';
import { Redis } from 'ioredis';
import {
  type LeaseStore,
  RedisDirectory,
} from '../../../services/tool-relay/src/adapters/redis-directory/redis-directory.ts';
import {
  ACQUIRE,
  LOCATE,
  RELEASE,
  RENEW,
} from '../../../services/tool-relay/src/adapters/redis-directory/scripts.ts';
import { lifetime } from '../../lifetime.ts';
import type { Constant } from '../costs.ts';

const DEVICES = 20_000;
const TENANTS = 100;
/** As LeaseKeeper renews them. */
const BATCH = 1000;
const IN_FLIGHT = 50;
const TICK_US = 10_000;

/** Used where no redis-server is installed. */
const ASSUMED_US = {
  redisAcquire: 30,
  redisRenew: 20,
  redisLocate: 15,
  redisRelease: 20,
  renewOnPod: 20,
} as const;

/** Measures the directory of the product on a Redis of its own. */
export async function measureRedis(): Promise<Constant[]> {
  if (needsRedis().skip !== false) return assumed();
  const redis = await openRedis();
  const client = new Redis({ port: redis.port });
  for (const { lua } of [ACQUIRE, RENEW, LOCATE, RELEASE]) await client.script('LOAD', lua);
  const store: LeaseStore = {
    run: (_operation, { sha1 }, keys, args) => client.evalsha(sha1, keys.length, ...keys, ...args),
  };
  const directory = new RedisDirectory({
    store,
    pod: () => ({
      relayId: 'relay-17',
      linkUrl: 'wss://relay-17.relay:8444/v1/link',
      rpcUrl: 'https://relay-17.relay:8445',
    }),
    ttlMs: 15_000,
    clock: { unixMs: () => Date.now() },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  const description = {
    connectedUnixMs: Date.now(),
    bridgeVersion: '0.1.0',
    features: ['hosts', 'progress', 'journal-clock'],
    catalogDigest: 'c'.repeat(43),
  };
  const leases: Awaited<ReturnType<RedisDirectory['acquire']>>['lease'][] = [];
  const redisAcquire = await redis.spent(async (index) => {
    const device = { tenant: `tenant-${index % TENANTS}`, deviceId: `device-${index}` };
    leases.push((await directory.acquire(device, description)).lease);
  });
  const lease = (index: number) => {
    const found = leases[index];
    if (found === undefined) throw new Error('fewer leases than devices');
    return found;
  };
  const redisLocate = await redis.spent(async (index) => {
    await directory.locate(lease(index));
  });
  const renewed = await renewals(directory, leases, redis.cpuUs);
  const redisRelease = await redis.spent((index) => directory.release(lease(index)));
  client.disconnect();
  await redis.stop();
  const single = `${DEVICES} operations of the directory, ${IN_FLIGHT} in flight: CPU of redis-server`;
  const batches = `${DEVICES} leases in batches of ${BATCH}`;
  return [
    constant('redisAcquire', redisAcquire, single),
    constant('redisRenew', renewed.redisUs, `${batches}: CPU of redis-server`),
    constant('redisLocate', redisLocate, single),
    constant('redisRelease', redisRelease, single),
    constant('renewOnPod', renewed.podUs, `${batches}: CPU of the directory's side`),
  ];
}

function assumed(): Constant[] {
  const source = 'ASSUMED: no redis-server is installed';
  return [
    constant('redisAcquire', ASSUMED_US.redisAcquire, source),
    constant('redisRenew', ASSUMED_US.redisRenew, source),
    constant('redisLocate', ASSUMED_US.redisLocate, source),
    constant('redisRelease', ASSUMED_US.redisRelease, source),
    constant('renewOnPod', ASSUMED_US.renewOnPod, source),
  ];
}

function constant(name: Constant['name'], value: number, source: string): Constant {
  return { name, value, unit: 'us', source };
}

async function renewals(
  directory: RedisDirectory,
  leases: Parameters<RedisDirectory['renew']>[0],
  redisCpuUs: () => number,
) {
  const redisBeganUs = redisCpuUs();
  const pod = process.cpuUsage();
  for (let start = 0; start < leases.length; start += BATCH) {
    await directory.renew(leases.slice(start, start + BATCH));
  }
  const { user, system } = process.cpuUsage(pod);
  return {
    redisUs: (redisCpuUs() - redisBeganUs) / leases.length,
    podUs: (user + system) / leases.length,
  };
}

async function openRedis() {
  const { port, pid, stop } = await startRedis({ dir: tempDir(lifetime) });
  lifetime.after(stop);
  const cpuUs = () => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_US;
  };
  /** Microseconds of Redis for each device. */
  const spent = async (operate: (index: number) => Promise<void>) => {
    const beganUs = cpuUs();
    let next = 0;
    const worker = async () => {
      while (next < DEVICES) {
        next += 1;
        await operate(next - 1);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    return (cpuUs() - beganUs) / DEVICES;
  };
  return { port, stop, spent, cpuUs };
}
