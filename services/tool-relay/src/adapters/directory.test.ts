import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import {
  eventually,
  needsRedis,
  type RedisServer,
  startRedis,
  startRedisCluster,
  tempDir,
} from '@zerolatency/testing';
import fc from 'fast-check';
import { advanceRedis, rawClient, redisPod, TTL_MS } from '../../test/redis-pods.ts';
import type { DeviceDescription, Directory } from '../directory/directory.ts';
import { firstAfter, MemoryDirectory } from './memory-directory/memory-directory.ts';

const LAPTOP = { tenant: 'north', deviceId: 'laptop' };
const description: DeviceDescription = {
  connectedUnixMs: 1,
  bridgeVersion: '1',
  features: ['progress'],
  catalogDigest: 'A'.repeat(43),
};
const START_UNIX_MS = 1_800_000_000_000;

interface DirectoryUnderTest {
  readonly directory: Directory;
  /** Time passes, for the leases and by the clock of the pod. */
  advance(ms: number): Promise<void>;
  /** The pod's time of day is set. */
  setClock(ms: number): void;
  /** The directory after its store has forgotten everything. */
  restarted(): Promise<Directory>;
}

interface Engine {
  /** How far from its end the contract looks at a lease: a store with a clock of its own does not stand still. */
  readonly slackMs: number;
  open(t: TestContext): Promise<DirectoryUnderTest>;
}

const memory: Engine = {
  slackMs: 1,
  async open(_t) {
    const clock = { unixMs: START_UNIX_MS, monotonicMs: 0 };
    const options = {
      pod: () => ({
        relayId: 'relay-1',
        linkUrl: 'wss://relay-1/v1/link',
        rpcUrl: 'https://relay-1',
      }),
      ttlMs: TTL_MS,
      clock: { unixMs: () => clock.unixMs, monotonicMs: () => clock.monotonicMs },
    };
    return {
      directory: new MemoryDirectory(options),
      advance: async (ms) => {
        clock.unixMs += ms;
        clock.monotonicMs += ms;
      },
      setClock: (ms) => {
        clock.unixMs += ms;
      },
      restarted: async () => new MemoryDirectory(options),
    };
  },
};

/** One server or cluster for all tests of the contract. */
function redis(
  settings: Record<string, string>,
  start: () => Promise<readonly RedisServer[]>,
): Engine {
  let servers: Promise<readonly RedisServer[]> | undefined;
  after(async () => {
    for (const server of (await servers) ?? []) await server.stop();
  });
  return {
    slackMs: TTL_MS / 2,
    async open(t) {
      servers ??= start();
      const nodes = await servers;
      const clients = nodes.map((server) => rawClient(t, server));
      for (const client of clients) await client.flushall();
      const clock = { nowMs: START_UNIX_MS, unixMs: () => clock.nowMs };
      const { directory, store } = redisPod(t, nodes, { settings, clock });
      await store.open();
      // The nodes of a new cluster do not know each other yet.
      await eventually(() => store.state.name === 'connected');
      return {
        directory,
        advance: async (ms) => {
          clock.nowMs += ms;
          await advanceRedis(clients, ms);
        },
        setClock: (ms) => {
          clock.nowMs += ms;
        },
        restarted: async () => {
          for (const client of clients) await client.flushall();
          return directory;
        },
      };
    },
  };
}

const dirs = { after: (fn: () => void) => after(fn) };
const ENGINES = {
  memory,
  redis: redis({}, async () => [await startRedis({ dir: tempDir(dirs) })]),
  'redis cluster': redis({ 'directory.redis.mode': 'cluster' }, () =>
    startRedisCluster([tempDir(dirs), tempDir(dirs), tempDir(dirs)]),
  ),
};

/** The contract of every directory. */
for (const [name, engine] of Object.entries(ENGINES)) {
  const options = name === 'memory' ? {} : needsRedis();
  describe(name, options, () => contract(name, engine));
}

function contract(name: string, { open, slackMs }: Engine): void {
  test(`[RLY-02] ${name}: the latest acquire owns the device, with a larger epoch`, async (t) => {
    const { directory } = await open(t);
    const { lease: first, replaced } = await directory.acquire(LAPTOP, description);
    assert.equal(replaced, undefined);
    const second = await directory.acquire(LAPTOP, { ...description, bridgeVersion: '2' });
    assert.ok(second.lease.epoch > first.epoch);
    assert.equal(second.replaced?.epoch, first.epoch);
    assert.equal((await directory.locate(LAPTOP))?.epoch, second.lease.epoch);
    const [lost, ...others] = await directory.renew([first, second.lease]);
    assert.equal(lost, first, 'the same object');
    assert.deepEqual(others, []);
    await directory.release(first);
    assert.deepEqual(await directory.locate(LAPTOP), {
      ...second.lease,
      relayId: 'relay-1',
      linkUrl: 'wss://relay-1/v1/link',
      rpcUrl: 'https://relay-1',
    });
    await directory.release(second.lease);
    assert.equal(await directory.locate(LAPTOP), undefined);
  });

  test(`[RLY-02] ${name}: epochs grow across a release and a loss of everything`, async (t) => {
    const { directory, advance, restarted } = await open(t);
    const { lease: first } = await directory.acquire(LAPTOP, description);
    await directory.release(first);
    const { lease: second } = await directory.acquire(LAPTOP, description);
    assert.ok(second.epoch > first.epoch);
    await advance(1000);
    const { lease: third } = await (await restarted()).acquire(LAPTOP, description);
    assert.ok(third.epoch > second.epoch);
  });

  test(`[RLY-08] ${name}: an epoch is larger than the one the device has seen, though everything was forgotten and the clock is behind`, async (t) => {
    const { directory, setClock, restarted } = await open(t);
    const { lease } = await directory.acquire(LAPTOP, description);
    setClock(-3_600_000);
    const forgetful = await restarted();
    const { lease: next } = await forgetful.acquire(LAPTOP, description, lease.epoch);
    assert.equal(next.epoch, lease.epoch + 1);
    const { lease: last } = await forgetful.acquire(LAPTOP, description);
    assert.ok(last.epoch > next.epoch);
    // A device cannot move the epochs of others, nor its own beyond what anybody gave out.
    for (const untrue of [0, lease.epoch * 10, 2 ** 63, Number.POSITIVE_INFINITY]) {
      const device = { tenant: 'north', deviceId: `desktop-${untrue === 0}` };
      const { lease: other } = await forgetful.acquire(device, description, untrue);
      assert.ok(other.epoch < lease.epoch, `${untrue}`);
    }
  });

  test(`[RLY-08] ${name}: a renewal writes the lease into a store that has forgotten it`, async (t) => {
    const { directory, restarted } = await open(t);
    const { lease } = await directory.acquire(LAPTOP, description);
    const forgetful = await restarted();
    assert.equal(await forgetful.locate(LAPTOP), undefined);
    assert.deepEqual(await forgetful.renew([{ ...lease, bridgeVersion: '2' }]), []);
    const [listed] = await forgetful.list('north', { after: '', limit: 10 });
    assert.deepEqual([listed?.epoch, listed?.bridgeVersion], [lease.epoch, '2']);
    const { lease: next } = await forgetful.acquire(LAPTOP, description);
    assert.ok(next.epoch > lease.epoch);
  });

  test(`[RLY-02] ${name}: a lease that is not renewed in time expires`, async (t) => {
    const { directory, advance } = await open(t);
    const { lease } = await directory.acquire(LAPTOP, description);
    await advance(TTL_MS - slackMs);
    assert.deepEqual(await directory.renew([lease]), []);
    await advance(TTL_MS - slackMs);
    assert.equal((await directory.locate(LAPTOP))?.relayId, 'relay-1');
    await advance(slackMs);
    assert.equal(await directory.locate(LAPTOP), undefined);
    assert.deepEqual(await directory.list('north', { after: '', limit: 10 }), []);
    assert.deepEqual(await directory.renew([lease]), []);
    assert.equal((await directory.locate(LAPTOP))?.epoch, lease.epoch);
    assert.equal((await directory.list('north', { after: '', limit: 10 })).length, 1);
  });

  test(`[RLY-02] ${name}: setting the clock neither ends a lease nor extends one`, async (t) => {
    const { directory, advance, setClock } = await open(t);
    const { lease } = await directory.acquire(LAPTOP, description);
    setClock(10 * TTL_MS);
    assert.equal((await directory.locate(LAPTOP))?.epoch, lease.epoch);
    setClock(-20 * TTL_MS);
    await advance(TTL_MS);
    assert.equal(await directory.locate(LAPTOP), undefined);
    assert.ok((await directory.acquire(LAPTOP, description)).lease.epoch > lease.epoch);
  });

  test(`[RLY-02] ${name}: a withdrawn lease gives the device back to the one before it`, async (t) => {
    const { directory } = await open(t);
    const { lease } = await directory.acquire(LAPTOP, description);
    await directory.withdraw(
      await directory.acquire(LAPTOP, { ...description, bridgeVersion: '2' }),
    );
    const restored = await directory.locate(LAPTOP);
    assert.deepEqual([restored?.epoch, restored?.bridgeVersion], [lease.epoch, '1']);
    assert.deepEqual(await directory.renew([lease]), []);
    // The epoch stays used.
    const again = await directory.acquire(LAPTOP, description);
    assert.ok(again.lease.epoch > lease.epoch + 1);
    await directory.withdraw(again);
    await directory.release(lease);
    assert.equal(await directory.locate(LAPTOP), undefined);
  });

  test(`[RLY-02] ${name}: a withdrawal brings back no lease that is over or withdrawn`, async (t) => {
    const { directory } = await open(t);
    const { lease: over } = await directory.acquire(LAPTOP, description);
    const next = await directory.acquire(LAPTOP, description);
    await directory.release(over);
    await directory.withdraw(next);
    assert.equal(await directory.locate(LAPTOP), undefined);

    const { lease: live } = await directory.acquire(LAPTOP, description);
    const second = await directory.acquire(LAPTOP, description);
    const third = await directory.acquire(LAPTOP, description);
    await directory.withdraw(second);
    assert.equal((await directory.locate(LAPTOP))?.epoch, third.lease.epoch);
    await directory.withdraw(third);
    assert.notEqual((await directory.locate(LAPTOP))?.epoch, second.lease.epoch);
    assert.deepEqual(await directory.renew([live]), []);
    assert.equal((await directory.locate(LAPTOP))?.epoch, live.epoch);
  });

  test(`${name}: lists devices by tenant, in order and in pages, as last renewed`, async (t) => {
    const { directory } = await open(t);
    for (const deviceId of ['b', 'c', 'a']) {
      await directory.acquire({ tenant: 'north', deviceId }, description);
    }
    const { lease } = await directory.acquire({ tenant: 'south', deviceId: 'x' }, description);
    const ids = async (after: string, limit: number) =>
      (await directory.list('north', { after, limit })).map(({ deviceId }) => deviceId);
    assert.deepEqual(await ids('', 2), ['a', 'b']);
    assert.deepEqual(await ids('b', 2), ['c']);
    await directory.renew([{ ...lease, catalogDigest: 'B'.repeat(43) }]);
    const [other] = await directory.list('south', { after: '', limit: 1 });
    assert.equal(other?.catalogDigest, 'B'.repeat(43));
    assert.equal(other?.linkUrl, 'wss://relay-1/v1/link');
  });

  test(`${name}: a page is full although earlier leases have expired`, async (t) => {
    const { directory, advance } = await open(t);
    for (const deviceId of ['a', 'b', 'c']) {
      await directory.acquire({ tenant: 'north', deviceId }, description);
    }
    await advance(TTL_MS);
    for (const deviceId of ['d', 'e']) {
      await directory.acquire({ tenant: 'north', deviceId }, description);
    }
    const page = await directory.list('north', { after: '', limit: 2 });
    assert.deepEqual(
      page.map(({ deviceId }) => deviceId),
      ['d', 'e'],
    );
  });
}

test('firstAfter returns the same names as sorting', () => {
  const name = fc.string({ maxLength: 3 });
  fc.assert(
    fc.property(
      fc.uniqueArray(name),
      name,
      fc.integer({ min: 1, max: 5 }),
      (names, after, limit) => {
        const sorted = [...names].sort((a, b) => (a < b ? -1 : 1)).filter((each) => each > after);
        assert.deepEqual(firstAfter(names, { after, limit }), sorted.slice(0, limit));
      },
    ),
  );
});
