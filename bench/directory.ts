// What a lease in Redis costs: the relay's directory against bare commands of the same number, in one round trip.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectRedis } from '@zerolatency/service/redis-client';
import { startRedis } from '@zerolatency/testing';
import { Redis } from 'ioredis';
import { RedisDirectory } from '../services/tool-relay/src/adapters/redis-directory/redis-directory.ts';
import { type Figure, percentile, report } from './report.ts';

/** A p99 rests on this many. */
const SAMPLES = 6_000;
const WARM_UP = 600;
const TTL_MS = 15_000;
const DEVICES = 1_000;

const dir = mkdtempSync(join(tmpdir(), 'zl-bench-directory-'));
const server = await startRedis({ dir });
const node = { host: '127.0.0.1', port: server.port };
const bare = new Redis({ ...node, protocol: 2 });
const runner = connectRedis(
  {
    mode: 'single',
    nodes: [node],
    sentinelName: '',
    username: '',
    commandTimeoutMs: 10_000,
  },
  {},
);
await runner.firstTry;

const pod = {
  relayId: 'relay-1',
  linkUrl: 'wss://relay-1:8444/v1/link',
  rpcUrl: 'https://relay-1:8445',
};
const directory = new RedisDirectory({
  store: { run: (_operation, script, keys, args) => runner.run(script, keys, args) },
  pod: () => pod,
  ttlMs: TTL_MS,
  clock: { unixMs: () => Date.now() },
  log: { debug() {}, info() {}, warn() {}, error() {} },
});
const description = {
  connectedUnixMs: Date.now(),
  bridgeVersion: '0.1.0',
  features: ['hosts', 'progress'],
  catalogDigest: 'A'.repeat(43),
};
const deviceOf = (index: number) => ({
  tenant: 'north',
  deviceId: `device-${index % DEVICES}`,
});
const entry = JSON.stringify({ v: 1, ...pod, ...description });
const keyOf = (index: number) => `bare:{north}:device:${index % DEVICES}`;

/** What the scripts do, without deciding anything. */
const WAYS = {
  acquire: {
    ours: (index: number) => directory.acquire(deviceOf(index), description),
    bare: (index: number) => written(index, ['last', 'epoch', 'entry', 'expires']),
  },
  renew: {
    ours: (index: number) =>
      directory.renew([{ ...deviceOf(index), ...description, epoch: Date.now() }]),
    bare: (index: number) => written(index, ['last', 'epoch', 'over']),
  },
  locate: {
    ours: (index: number) => directory.locate(deviceOf(index)),
    bare: (index: number) =>
      bare.pipeline().hmget(keyOf(index), 'epoch', 'entry', 'expires').time().exec(),
  },
};

function written(index: number, read: readonly string[]) {
  const key = keyOf(index);
  return bare
    .pipeline()
    .hmget(key, ...read)
    .time()
    .hset(key, { last: index, epoch: index, entry, expires: index })
    .pexpire(key, TTL_MS)
    .zadd('bare:{north}:devices', 0, key)
    .pexpire('bare:{north}:devices', TTL_MS)
    .exec();
}

const figures: Figure[] = [];
try {
  for (const [name, way] of Object.entries(WAYS)) {
    const times = { ours: [] as number[], bare: [] as number[] };
    for (let index = -WARM_UP; index < SAMPLES; index++) {
      // In turns, so that noise hits both.
      for (const side of ['ours', 'bare'] as const) {
        const startedMs = performance.now();
        await way[side](Math.abs(index));
        if (index >= 0) times[side].push((performance.now() - startedMs) * 1000);
      }
    }
    for (const [label, share] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const) {
      figures.push({
        metric: `${name}, ${label}`,
        value: percentile(times.ours, share),
        unit: 'us',
        baseline: percentile(times.bare, share),
        goal: 2,
      });
    }
  }
} finally {
  runner.close();
  bare.disconnect();
  await server.stop();
  rmSync(dir, { recursive: true });
}

report({
  name: 'directory',
  method: `${SAMPLES} of each in turns, one at a time, on a Redis of this machine; the floor is the same commands without a script, in one pipeline`,
  figures,
});
