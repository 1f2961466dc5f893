import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeFrame, FrameKind } from '@zerolatency/frame';
import { eventually, type FaultProxy, startRedis, tempDir } from '@zerolatency/testing';
import { Redis } from 'ioredis';
import type { Lifetime } from '../e2e/system.ts';
import type { Load } from './load.ts';
import type { PodNetwork, World } from './world.ts';

/** What a fault acts on. */
export interface Scene {
  readonly t: Lifetime;
  readonly world: World;
  readonly load: Load;
  readonly random: () => number;
  /** How long a relay is stopped, and a network is away. */
  readonly awayMs: number;
}

export interface Fault {
  readonly name: string;
  /** Resolves once it is over, before everything has recovered. */
  play(scene: Scene): Promise<void>;
}

/** Calls during a change of the network's weather. */
const CALLS_IN_WEATHER = 40;
/** Longer than a bridge takes to come back. */
const PATIENT_MS = 100_000;
/** Late frames of one zombie. */
const MAX_LATE_FRAMES = 200;

type Way = keyof PodNetwork;

function anyPod({ world, random }: Scene): number {
  return Math.floor(random() * world.pods);
}

function proxies({ world }: Scene, ways: readonly Way[], pod?: number): FaultProxy[] {
  const networks = pod === undefined ? world.networks : world.networks.slice(pod, pod + 1);
  return networks.flatMap((network) => ways.map((way) => network[way]));
}

/** On all pods, for some calls. */
function weather(name: string, change: (proxy: FaultProxy) => void): Fault {
  return {
    name,
    async play(scene) {
      const changed = proxies(scene, ['link', 'device']);
      for (const proxy of changed) change(proxy);
      await scene.load.passed(CALLS_IN_WEATHER);
      for (const proxy of changed) proxy.weather({});
    },
  };
}

/** Some ways of one pod fail at once. */
function broken(name: string, ways: readonly Way[], act: (proxy: FaultProxy) => void): Fault {
  return {
    name,
    async play(scene) {
      for (const proxy of proxies(scene, ways, anyPod(scene))) act(proxy);
    },
  };
}

/** Nothing passes on some ways of a pod for a while, then all of it. */
function partition(name: string, ways: readonly Way[]): Fault {
  return {
    name,
    async play(scene) {
      const held = proxies(scene, ways, anyPod(scene));
      for (const proxy of held) proxy.pause();
      await delay(scene.awayMs * (0.5 + scene.random() / 2));
      for (const proxy of held) proxy.resume();
    },
  };
}

const relayStops: Fault = {
  name: 'relay stopped (SIGSTOP)',
  async play(scene) {
    const { world, awayMs } = scene;
    const pid = await world.pidOf('relay', anyPod(scene));
    process.kill(pid, 'SIGSTOP');
    try {
      await delay(awayMs);
    } finally {
      // Its late frames now arrive where a newer owner is.
      process.kill(pid, 'SIGCONT');
    }
  },
};

const redisForgets: Fault = {
  name: 'Redis FLUSHALL',
  async play({ world }) {
    await withRedis(world.redis.port, (redis) => redis.flushall());
  },
};

const redisRestarts: Fault = {
  name: 'Redis killed and started again, empty',
  async play({ t, world }) {
    const { port } = world.redis;
    await world.redis.stop();
    const redis = await startRedis({ dir: tempDir(t), port });
    t.after(() => redis.stop());
    world.redis = redis;
  },
};

const redisFailsOver: Fault = {
  name: 'Redis failover to a replica that lags',
  async play(scene) {
    const { t, world, load } = scene;
    const config = [`replicaof 127.0.0.1 ${world.redis.port}`];
    const replica = await startRedis({ dir: tempDir(t), config });
    t.after(() => replica.stop());
    await withRedis(replica.port, async (redis) => {
      await eventually(async () => /master_link_status:up/.test(await redis.info('replication')));
      await redis.replicaof('NO', 'ONE');
    });
    // What is written from here on is lost.
    await load.passed(CALLS_IN_WEATHER);
    for (const proxy of proxies(scene, ['redis'])) {
      proxy.retarget({ port: replica.port });
      proxy.cut();
    }
    await world.redis.stop();
    world.redis = replica;
  },
};

/** The frames of a relay that was the owner and does not know better. */
const zombieSpeaks: Fault = {
  name: 'late CALLs of an earlier owner',
  async play(scene) {
    const late = await recorded(scene);
    await newOwner(scene);
    scene.world.replay(late);
    await scene.load.passed(CALLS_IN_WEATHER);
  },
};

/** With the late frames of an earlier owner, for which only the epoch is left as a fence. */
export const journalIsLost: Fault = {
  name: 'bridge killed, journal set back, late CALLs',
  async play(scene) {
    const { world, load } = scene;
    await world.keepJournal();
    const late = await recorded(scene);
    const asked = load.begin({ stopAt: 'acted', timeoutMs: PATIENT_MS });
    const hasActed = () => readFileSync(world.counted, 'utf8').includes(`acted ${asked.key}\n`);
    await eventually(() => hasActed() || asked.endedMs > 0);
    const pid = await world.pidOf('bridge');
    world.killNow('bridge', pid);
    world.release(asked.key);
    await world.killed(pid);
    world.loseJournal();
    await world.system.start('device-bridge');
    await world.healthy();
    world.replay(late);
    await load.passed(CALLS_IN_WEATHER);
  },
};

/** CALL frames as the bridge gets them, of calls with much time left. */
async function recorded({ world, load }: Scene): Promise<Uint8Array[]> {
  const late: Uint8Array[] = [];
  world.trap = ({ hop, from, frame }) => {
    const isCall = hop === 'device' && from === 'relay' && frame.kind === FrameKind.CALL;
    if (isCall && late.length < MAX_LATE_FRAMES) late.push(encodeFrame(frame));
    return undefined;
  };
  await load.passed(CALLS_IN_WEATHER);
  world.trap = undefined;
  return late;
}

/** The device connects again, to whichever pod. */
async function newOwner(scene: Scene): Promise<void> {
  for (const proxy of proxies(scene, ['device'])) proxy.cut();
  await scene.world.healthy();
  await scene.load.passed(1);
}

async function withRedis(port: number, act: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis({ host: '127.0.0.1', port, protocol: 2 });
  redis.on('error', () => {});
  try {
    await act(redis);
  } finally {
    redis.disconnect();
  }
}

const relayToHost = ['link', 'rpc'] as const;

export const FAULTS: readonly Fault[] = [
  weather('latency 40 ms', (proxy) => proxy.delay(40)),
  weather('jitter 60 ms', (proxy) => proxy.weather({ latencyMs: 5, jitterMs: 60 })),
  weather('slices of 7 bytes', (proxy) => proxy.weather({ sliceBytes: 7 })),
  broken('link reset', ['link'], (proxy) => proxy.cut()),
  broken('device sockets reset', ['device'], (proxy) => proxy.cut()),
  broken('device sockets half-open', ['device'], (proxy) => proxy.vanish()),
  broken('link half-open', ['link'], (proxy) => proxy.vanish()),
  partition('partition of host and relay', relayToHost),
  partition('partition of relay and device', ['device']),
  partition('partition of relay and Redis', ['redis']),
  relayStops,
  redisForgets,
  redisRestarts,
  redisFailsOver,
  zombieSpeaks,
  journalIsLost,
];
