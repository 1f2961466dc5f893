import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DeviceDescription, Directory } from '../directory/directory.ts';
import { firstAfter, MemoryDirectory } from './memory-directory/memory-directory.ts';

const TTL_MS = 1000;
const LAPTOP = { tenant: 'north', deviceId: 'laptop' };
const description: DeviceDescription = {
  connectedUnixMs: 1,
  bridgeVersion: '1',
  features: [],
  catalog: Uint8Array.of(1),
};

interface DirectoryUnderTest {
  readonly directory: Directory;
  advance(ms: number): void;
  /** The time of day is set. */
  setClock(ms: number): void;
  /** The directory after a restart of its store. */
  restarted(): Directory;
}

function memory(): DirectoryUnderTest {
  const clock = { unixMs: 1_800_000_000_000, monotonicMs: 0 };
  const options = {
    relayId: 'relay-1',
    linkUrl: () => 'wss://relay-1/v1/link',
    ttlMs: TTL_MS,
    clock: { unixMs: () => clock.unixMs, monotonicMs: () => clock.monotonicMs },
  };
  return {
    directory: new MemoryDirectory(options),
    advance: (ms) => {
      clock.unixMs += ms;
      clock.monotonicMs += ms;
    },
    setClock: (ms) => {
      clock.unixMs += ms;
    },
    restarted: () => new MemoryDirectory(options),
  };
}

/** The contract of every directory. */
for (const [name, make] of Object.entries({ memory })) {
  test(`[RLY-02] ${name}: the latest acquire owns the device, with a larger epoch`, async () => {
    const { directory } = make();
    const first = await directory.acquire(LAPTOP, description);
    const second = await directory.acquire(LAPTOP, description);
    assert.ok(second.epoch > first.epoch);
    assert.equal((await directory.locate(LAPTOP))?.epoch, second.epoch);
    const [lost, ...others] = await directory.renew([first, second]);
    assert.equal(lost, first, 'the same object');
    assert.deepEqual(others, []);
    await directory.release(first);
    await directory.describe(first, { ...description, bridgeVersion: 'old' });
    assert.equal((await directory.locate(LAPTOP))?.epoch, second.epoch);
    const [listed] = await directory.list('north', { after: '', limit: 10 });
    assert.equal(listed?.bridgeVersion, '1');
    await directory.release(second);
    assert.equal(await directory.locate(LAPTOP), undefined);
  });

  test(`[RLY-02] ${name}: epochs grow across a release and a restart`, async () => {
    const { directory, advance, restarted } = make();
    const first = await directory.acquire(LAPTOP, description);
    await directory.release(first);
    const second = await directory.acquire(LAPTOP, description);
    assert.ok(second.epoch > first.epoch);
    advance(1000);
    const third = await restarted().acquire(LAPTOP, description);
    assert.ok(third.epoch > second.epoch);
  });

  test(`[RLY-02] ${name}: a lease that is not renewed in time expires`, async () => {
    const { directory, advance } = make();
    const lease = await directory.acquire(LAPTOP, description);
    advance(TTL_MS - 1);
    assert.deepEqual(await directory.renew([lease]), []);
    advance(TTL_MS - 1);
    assert.equal((await directory.locate(LAPTOP))?.relayId, 'relay-1');
    advance(1);
    assert.equal(await directory.locate(LAPTOP), undefined);
    assert.deepEqual(await directory.list('north', { after: '', limit: 10 }), []);
    assert.deepEqual(await directory.renew([lease]), []);
    assert.equal((await directory.locate(LAPTOP))?.epoch, lease.epoch);
  });

  test(`[RLY-02] ${name}: setting the clock neither ends a lease nor extends one`, async () => {
    const { directory, advance, setClock } = make();
    const lease = await directory.acquire(LAPTOP, description);
    setClock(10 * TTL_MS);
    assert.equal((await directory.locate(LAPTOP))?.epoch, lease.epoch);
    setClock(-20 * TTL_MS);
    advance(TTL_MS);
    assert.equal(await directory.locate(LAPTOP), undefined);
    assert.ok((await directory.acquire(LAPTOP, description)).epoch > lease.epoch);
  });

  test(`${name}: lists devices by tenant, in order and in pages, as last described`, async () => {
    const { directory } = make();
    for (const deviceId of ['b', 'c', 'a']) {
      await directory.acquire({ tenant: 'north', deviceId }, description);
    }
    const lease = await directory.acquire({ tenant: 'south', deviceId: 'x' }, description);
    const ids = async (after: string, limit: number) =>
      (await directory.list('north', { after, limit })).map(({ deviceId }) => deviceId);
    assert.deepEqual(await ids('', 2), ['a', 'b']);
    assert.deepEqual(await ids('b', 2), ['c']);
    await directory.describe(lease, { ...description, catalog: Uint8Array.of(2) });
    const [other] = await directory.list('south', { after: '', limit: 1 });
    assert.deepEqual([...(other?.catalog ?? [])], [2]);
    assert.equal(other?.linkUrl, 'wss://relay-1/v1/link');
  });

  test(`${name}: a page is full although earlier leases have expired`, async () => {
    const { directory, advance } = make();
    await directory.acquire({ tenant: 'north', deviceId: 'a' }, description);
    advance(TTL_MS);
    for (const deviceId of ['b', 'c']) {
      await directory.acquire({ tenant: 'north', deviceId }, description);
    }
    const page = await directory.list('north', { after: '', limit: 2 });
    assert.deepEqual(
      page.map(({ deviceId }) => deviceId),
      ['b', 'c'],
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
