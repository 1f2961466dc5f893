import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Membership, type PodRecord } from './membership.ts';
import { Moves } from './moves.ts';
import { shardOf } from './shard-of.ts';
import { PodShards } from './shards.ts';

const SETTLE_MS = 10_000;
const READ_EVERY_MS = 2_000;

const record = (relayId: string): PodRecord => ({
  relayId,
  linkUrl: `wss://${relayId}/v1/link`,
  rpcUrl: `https://${relayId}`,
  deviceUrl: `wss://${relayId}/v1/device`,
});
const records = (ids: Iterable<string>) => [...ids].map(record);
const idsOf = ({ members }: Membership) => members.map(({ id }) => id).sort();

/** The membership of pod a, which reads the given pods again and again for as long as said. */
function reader() {
  const membership = new Membership('a', SETTLE_MS);
  let nowMs = 0;
  const read = (ids: string, forMs = 0) => {
    let changes = 0;
    for (const endMs = nowMs + forMs; nowMs <= endMs; nowMs += READ_EVERY_MS)
      if (membership.read(records(ids), nowMs)) changes += 1;
    return changes;
  };
  const away = (forMs: number) => {
    membership.lose();
    nowMs += forMs;
  };
  return { membership, read, away };
}

test('[RLY-03] a pod that starts takes the pods it finds, and later ones once they have settled', () => {
  const { membership, read } = reader();
  read('ab');
  assert.deepEqual([idsOf(membership), membership.generation], [['a', 'b'], 1]);
  read('abc', SETTLE_MS - READ_EVERY_MS);
  assert.deepEqual([idsOf(membership), membership.deviceUrlOf('c')], [['a', 'b'], undefined]);
  assert.equal(read('abc', READ_EVERY_MS), 1);
  assert.deepEqual([idsOf(membership), membership.generation], [['a', 'b', 'c'], 2]);
  assert.equal(membership.deviceUrlOf('c'), 'wss://c/v1/device');
});

test('[RLY-03] a pod that flaps changes nothing, and gets no devices until it has settled', () => {
  const { membership, read } = reader();
  read('ab');
  for (let n = 0; n < 10; n++) {
    assert.equal(read('a', 4_000) + read('abz', 4_000), 0);
    assert.equal(membership.deviceUrlOf('b'), undefined);
  }
  assert.deepEqual([idsOf(membership), membership.generation], [['a', 'b'], 1]);
  // Its devices, which are elsewhere by now, may come back.
  assert.equal(read('ab', SETTLE_MS), 1);
  assert.deepEqual([membership.generation, membership.deviceUrlOf('b')], [1, 'wss://b/v1/device']);
});

test('[RLY-03] a pod that is gone for long enough leaves', () => {
  const { membership, read } = reader();
  read('ab');
  assert.equal(read('a', SETTLE_MS - READ_EVERY_MS), 0);
  assert.equal(read('a', READ_EVERY_MS), 1);
  assert.deepEqual([idsOf(membership), membership.generation], [['a'], 2]);
});

test('[RLY-03] [RLY-08] without Redis the pods stay as they were, none moves, and no time passes', () => {
  const { membership, read, away } = reader();
  read('ab');
  read('abc', SETTLE_MS / 2);
  away(10 * SETTLE_MS);
  assert.deepEqual([idsOf(membership), membership.deviceUrlOf('b')], [['a', 'b'], undefined]);
  // All announcements have expired meanwhile, and this pod is the first to be back.
  assert.equal(read('a'), 0);
  assert.equal(read('abc', SETTLE_MS - READ_EVERY_MS), 0);
  assert.deepEqual([idsOf(membership), membership.generation], [['a', 'b'], 1]);
  read('abc', 2 * READ_EVERY_MS);
  assert.deepEqual(idsOf(membership), ['a', 'b', 'c']);
});

test('[RLY-03] a pod is a member of its own pool even where the others do not see it, and without an address gets no devices', () => {
  const { membership } = reader();
  membership.read([{ ...record('b'), deviceUrl: '' }], 0);
  assert.deepEqual([idsOf(membership), membership.deviceUrlOf('b')], [['a', 'b'], undefined]);
});

interface SimulatedDevice {
  readonly tenant: string;
  readonly deviceId: string;
  pod: string | undefined;
  /** How often it went somewhere else. */
  moves: number;
}

const WIDTH = 2;
const PODS = ['a', 'b', 'c', 'd', 'e'];
const happening = fc.oneof(
  fc.record({ starts: fc.constantFrom(...PODS) }),
  fc.record({ stops: fc.constantFrom(...PODS) }),
  fc.record({ redisAway: fc.boolean() }),
  fc.record({ refusesRedirects: fc.constantFrom(...PODS) }),
  fc.record({ readings: fc.integer({ min: 1, max: 12 }) }),
);
type Happening = Partial<
  Record<'starts' | 'stops' | 'refusesRedirects', string> & { redisAway: boolean; readings: number }
>;

/** Pods as Sharding runs them, and devices as a bridge connects, without sockets and timers. */
class Pool {
  readonly devices: SimulatedDevice[] = [];
  readonly #pods = new Map<string, { membership: Membership; shards: PodShards }>();
  readonly #unreachable = new Set<string>();
  #isRedisAway = false;
  #nowMs = 0;

  constructor() {
    for (let n = 0; n < 12; n++)
      this.devices.push({ tenant: `t${n % 3}`, deviceId: `d${n}`, pod: undefined, moves: 0 });
  }

  get running(): string[] {
    return [...this.#pods.keys()];
  }

  happen({ starts, stops, redisAway, refusesRedirects, readings = 1 }: Happening): void {
    if (starts !== undefined && !this.#pods.has(starts)) {
      const membership = new Membership(starts, SETTLE_MS);
      this.#pods.set(starts, { membership, shards: new PodShards(starts, WIDTH, membership) });
    }
    if (stops !== undefined) this.#pods.delete(stops);
    if (redisAway !== undefined) this.#isRedisAway = redisAway;
    if (refusesRedirects !== undefined) this.#unreachable.add(refusesRedirects);
    for (let n = 0; n < readings; n++) this.#read();
  }

  heal(): void {
    this.#unreachable.clear();
    this.happen({ starts: 'a', redisAway: false, readings: 30 });
  }

  #read(): void {
    this.#nowMs += READ_EVERY_MS;
    for (const { membership } of this.#pods.values()) {
      if (this.#isRedisAway) membership.lose();
      else membership.read(records(this.#pods.keys()), this.#nowMs);
    }
    for (const device of this.devices) {
      if (device.pod === undefined || !this.#pods.has(device.pod)) this.#connect(device);
      else this.#move(device, device.pod);
    }
  }

  #connect(device: SimulatedDevice): void {
    const first = this.running[(this.#nowMs + device.moves) % Math.max(1, this.running.length)];
    device.pod = first;
    if (first === undefined) return;
    device.moves += 1;
    const target = this.#targetOf(device, first);
    // It is served where the redirect leads, or by the first pod after all.
    if (target !== undefined && this.#canReach(target)) device.pod = target;
  }

  #move(device: SimulatedDevice, from: string): void {
    const target = this.#targetOf(device, from);
    if (target === undefined || !this.#canReach(target)) return;
    device.pod = target;
    device.moves += 1;
  }

  #canReach(pod: string): boolean {
    return this.#pods.has(pod) && !this.#unreachable.has(pod);
  }

  #targetOf(device: SimulatedDevice, from: string): string | undefined {
    return this.#pods.get(from)?.shards.elsewhere(device)?.split('/')[2];
  }

  expected(device: SimulatedDevice): string | undefined {
    const membership = this.#pods.values().next().value?.membership;
    return membership && shardOf(device, membership.members, WIDTH);
  }
}

test('[RLY-03] after any joins, leaves, Redis outages and refused redirects each device comes to rest on its shard', () => {
  let moved = 0;
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 25 }), (happenings) => {
      const pool = new Pool();
      for (const each of happenings) pool.happen(each);
      pool.heal();
      const places = () => pool.devices.map(({ pod }) => pod);
      assert.deepEqual(
        places(),
        pool.devices.map((device) => pool.expected(device)),
      );
      const before = pool.devices.map(({ moves }) => moves);
      pool.happen({ readings: 20 });
      assert.deepEqual(
        pool.devices.map(({ moves }) => moves),
        before,
      );
      moved += before.reduce((sum, moves) => sum + moves, 0);
    }),
    { numRuns: 200 },
  );
  assert.ok(moved > 1_000, `${moved} moves`);
});

test("[RLY-03] a round moves the devices that are out of place and follow redirects, at this pod's part of the rate", (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let nowMs = 0;
  const movedAtMs: number[] = [];
  const sessions = Array.from({ length: 300 }, (_, n) => {
    const device = { tenant: 'north', deviceId: `${n}` };
    return {
      device,
      movable: n % 3 === 0 ? undefined : device,
      move: () => void movedAtMs.push(nowMs),
    };
  });
  const isOut = ({ deviceId }: { deviceId: string }) => Number(deviceId) % 2 === 0;
  const moves = new Moves({
    sessions: () => sessions,
    shards: {
      belongsHere: (device) => !isOut(device),
      elsewhere: (device) => (isOut(device) ? 'wss://b/v1/device' : undefined),
    },
    // A third of the rate is for this pod.
    movesPerSecond: 30,
    otherPods: () => 3,
    monotonicMs: () => nowMs,
  });
  moves.start();
  for (; nowMs < 20_000; nowMs += 50) t.mock.timers.tick(50);
  assert.equal(movedAtMs.length, 100);
  assert.deepEqual(moves.figures, { devices: 300, outOfPlace: 150 });
  for (const [n, atMs] of movedAtMs.entries())
    assert.ok(atMs - (movedAtMs[n - 10] ?? -1_000) >= 900, `${n} at ${atMs} ms`);
  moves.close();
});
