import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from './refusal.ts';
import { RefusedOwners } from './refused-owners.ts';

const refusal = new Refusal('used up');

test('[HOST-12] a refused owner is known until its time, for that limit alone', () => {
  const owners = new RefusedOwners();
  const owner = { tenant: 'north', user: 'one' };
  assert.equal(owners.find(owner, ['requests'], 0), undefined);
  owners.add(owner, { kind: 'user', limit: 'requests', refusal, untilMs: 10 });
  assert.equal(owners.find(owner, ['turns', 'requests'], 9)?.limit, 'requests');
  assert.equal(owners.find(owner, ['turns'], 9), undefined);
  assert.equal(owners.find({ ...owner, user: 'two' }, ['requests'], 9), undefined);
  assert.equal(owners.find(owner, ['requests'], 10), undefined);
});

test('[HOST-12] a tenant stays refused while a hundred thousand of its users are', () => {
  const owners = new RefusedOwners();
  owners.add(
    { tenant: 'north', user: '' },
    { kind: 'tenant', limit: 'requests', refusal, untilMs: 1 },
  );
  for (let n = 0; n < 100_000; n += 1) {
    const owner = { tenant: 'north', user: `user-${n}` };
    assert.equal(owners.find(owner, ['requests'], 0)?.kind, 'tenant');
    owners.add(owner, { kind: 'user', limit: 'requests', refusal, untilMs: 1 });
  }
});
