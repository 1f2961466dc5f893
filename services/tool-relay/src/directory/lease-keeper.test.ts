import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leaseOf, silentLog } from '../../test/parts.ts';
import type { Directory, Lease } from './directory.ts';
import { LeaseKeeper } from './lease-keeper.ts';

function holders(count: number) {
  const superseded: number[] = [];
  const all = Array.from({ length: count }, (_, epoch) => ({
    lease: leaseOf({ deviceId: `device-${epoch}`, epoch }),
    supersede: () => superseded.push(epoch),
  }));
  return { all, superseded };
}

function keeper(renew: Directory['renew'], all: Iterable<{ lease: Lease; supersede(): void }>) {
  return new LeaseKeeper({ directory: { renew }, holders: all, ttlMs: 30_000, log: silentLog });
}

test('[RLY-02] a session ends when another pod takes over its lease', async () => {
  const { all, superseded } = holders(600);
  const sizes: number[] = [];
  const keeps = keeper(async (leases) => {
    sizes.push(leases.length);
    return leases.filter(({ epoch }) => epoch % 250 === 7);
  }, all);
  assert.equal(keeps.intervalMs, 10_000);
  await keeps.renewAll();
  assert.deepEqual(superseded, [7, 257, 507]);
  assert.deepEqual(sizes, [250, 250, 100]);
});

test('[RLY-02] an unreachable directory ends no session and is asked again', async () => {
  const { all, superseded } = holders(1);
  let asked = 0;
  const keeps = keeper(async () => {
    asked += 1;
    throw new Error('away');
  }, all);
  await keeps.renewAll();
  await keeps.renewAll();
  assert.equal(asked, 2);
  assert.deepEqual(superseded, []);
});

test('skips a renewal while the previous one still runs', async () => {
  const { all } = holders(1);
  const answer = Promise.withResolvers<readonly Lease[]>();
  let asked = 0;
  const keeps = keeper(() => {
    asked += 1;
    return answer.promise;
  }, all);
  const first = keeps.renewAll();
  await keeps.renewAll();
  assert.equal(asked, 1);
  answer.resolve([]);
  await first;
});
