import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Pods, podsOf, shardOf, tenantPods } from './shard-of.ts';

const podIds = (count: number) => Array.from({ length: count }, (_, n) => `relay-${n}`);
const device = (n: number, tenant = 'north') => ({ tenant, deviceId: `device-${n}` });
const idsOf = (pods: Pods) => pods.map(({ id }) => id);

const clusters = fc.record({
  count: fc.integer({ min: 1, max: 60 }),
  width: fc.integer({ min: 1, max: 60 }),
  tenant: fc.stringMatching(/^[a-z]{1,12}$/),
  deviceId: fc.stringMatching(/^[A-Za-z0-9_.:@-]{1,40}$/),
});

test('[RLY-03] a device belongs to one of the pods of its tenant, whatever the order of the pods', () => {
  fc.assert(
    fc.property(clusters, ({ count, width, tenant, deviceId }) => {
      const ids = podIds(count);
      const pods = podsOf(ids);
      const owner = shardOf({ tenant, deviceId }, pods, width) ?? '';
      const among = idsOf(tenantPods(tenant, pods, width));
      assert.equal(new Set(among).size, Math.min(width, count));
      assert.ok(among.includes(owner));
      assert.equal(shardOf({ tenant, deviceId }, podsOf(ids.reverse()), width), owner);
    }),
  );
});

test('[RLY-03] a pod that leaves moves its own devices and no others', () => {
  fc.assert(
    fc.property(clusters, fc.nat(), ({ count, width, tenant, deviceId }, leaving) => {
      const ids = podIds(count);
      const gone = `relay-${leaving % count}`;
      const left = podsOf(ids.filter((id) => id !== gone));
      const before = tenantPods(tenant, podsOf(ids), width);
      const after = tenantPods(tenant, left, width);
      // The tenant keeps its other pods, and at most one takes the place of the one that left.
      const kept = idsOf(before).filter((id) => id !== gone);
      assert.deepEqual(idsOf(after).slice(0, kept.length), kept);
      const owner = shardOf({ tenant, deviceId }, podsOf(ids), width);
      const successor = shardOf({ tenant, deviceId }, left, width);
      const joined = idsOf(after).slice(kept.length);
      if (owner !== gone) assert.ok(successor === owner || joined.includes(successor ?? ''));
      if (width >= count && owner !== gone) assert.equal(successor, owner);
    }),
  );
});

test('[RLY-03] a pod that leaves moves about its share of the devices', () => {
  const before = podsOf(podIds(50));
  const after = before.slice(1);
  for (const width of [4, 50]) {
    let moved = 0;
    for (let n = 0; n < 10_000; n++) {
      const each = device(n, `tenant-${n % 997}`);
      if (shardOf(each, before, width) !== shardOf(each, after, width)) moved += 1;
    }
    // A fiftieth, and with shards also what the tenant's next pod draws from those that stay.
    assert.ok(moved > 100 && moved < 600, `${moved} moved with a width of ${width}`);
  }
});

test('[RLY-03] devices spread evenly over the pods of a tenant, and tenants over all pods', () => {
  const pods = podsOf(podIds(50));
  for (const width of [1, 4, 50]) {
    const devicesOn = new Map<string, number>();
    const tenants = width === 1 ? 20_000 : 1;
    for (let n = 0; n < 20_000; n++) {
      const owner = shardOf(device(n, `tenant-${n % tenants}`), pods, width) ?? '';
      devicesOn.set(owner, (devicesOn.get(owner) ?? 0) + 1);
    }
    const used = width === 1 ? 50 : width;
    const fair = 20_000 / used;
    assert.equal(devicesOn.size, used);
    // Six standard deviations of a fair draw.
    const room = 6 * Math.sqrt(fair);
    for (const [id, count] of devicesOn)
      assert.ok(Math.abs(count - fair) < room, `${id}: ${count}`);
  }
});

test('[RLY-03] tenants seldom share all their pods', () => {
  const pods = podsOf(podIds(50));
  const shards = new Set<string>();
  for (let n = 0; n < 1000; n++) {
    shards.add(
      idsOf(tenantPods(`tenant-${n}`, pods, 4))
        .sort()
        .join(),
    );
  }
  assert.ok(shards.size > 990, `${shards.size} different shards`);
});

test('[RLY-03] every release places devices alike', () => {
  const pods = podsOf(podIds(5));
  const owners = Array.from({ length: 8 }, (_, n) => shardOf(device(n, `tenant-${n}`), pods, 3));
  assert.equal(owners.join(' '), 'relay-1 relay-4 relay-0 relay-4 relay-0 relay-3 relay-1 relay-1');
  assert.deepEqual(idsOf(tenantPods('north', pods, 3)), ['relay-2', 'relay-4', 'relay-1']);
  assert.equal(shardOf(device(0), podsOf([]), 3), undefined);
});
