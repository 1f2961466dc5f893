import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Floor, type FloorPort, memoryFloor } from '@zerolatency/signing';
import { makeKey } from '@zerolatency/testing';
import fc from 'fast-check';
import {
  allow,
  DAY_MS,
  NOW,
  nameOfState,
  policyKey,
  sampleRequest,
  signed,
} from '../test/sample-bundle.ts';
import { BundleHolder, type BundleState, bundleFigures } from './index.ts';

const keys = [policyKey.publicPem];

function makeHolder(floor: FloorPort = memoryFloor()): BundleHolder {
  return new BundleHolder({ keys, floor });
}

function ask(holder: BundleHolder, nowMs = NOW) {
  return holder.decide(sampleRequest({ nowMs }));
}

test('[POL-02] without a bundle every tool is denied, and it says so', () => {
  const holder = makeHolder();
  assert.deepEqual(holder.current(NOW), { state: 'none' });
  const decision = ask(holder);
  assert.ok(decision.effect === 'deny');
  assert.equal(decision.errorId, 'policy.unavailable');
  assert.equal(decision.policyId, '');
});

test('[POL-02] a bundle becomes stale, then expires and denies every tool', async () => {
  const holder = makeHolder();
  const rules = [allow(), allow({ id: 'grace', tools: ['fs.list'], duringGrace: true })];
  await holder.offer(await signed({ graceMs: DAY_MS, rules }), NOW);
  const list = (nowMs: number) => holder.decide(sampleRequest({ tool: 'fs.list', nowMs })).effect;
  const seen = [NOW, NOW + 7 * DAY_MS - 1, NOW + 7 * DAY_MS, NOW + 8 * DAY_MS].map((nowMs) => [
    holder.current(nowMs).state,
    ask(holder, nowMs).effect,
    list(nowMs),
  ]);
  assert.deepEqual(seen, [
    ['active', 'allow', 'allow'],
    ['active', 'allow', 'allow'],
    ['stale', 'deny', 'allow'],
    ['expired', 'deny', 'deny'],
  ]);
  const last = ask(holder, NOW + 8 * DAY_MS);
  assert.ok(last.effect === 'deny' && last.errorId === 'policy.unavailable');
  assert.equal(last.policyId, 'default@1');
});

test('[POL-02] a newer bundle takes over, and every decision names its bundle', async () => {
  const holder = makeHolder();
  const first = await holder.offer(await signed(), NOW);
  assert.ok('installed' in first);
  assert.equal(ask(holder).policyDigest, first.installed.digest);
  assert.deepEqual(await holder.offer(await signed(), NOW), { unchanged: true });
  assert.ok('installed' in (await holder.offer(await signed({ version: 2, rules: [] }), NOW)));
  assert.equal(ask(holder).policyId, 'default@2');
  assert.equal(ask(holder).effect, 'deny');
});

test('[POL-02] a refused offer leaves the bundle in force as it is', async () => {
  const holder = makeHolder();
  await holder.offer(await signed({ version: 2 }), NOW);
  const before = holder.current(NOW);
  const offers = [
    'garbage',
    '',
    await signed({ version: 1 }),
    await signed({ version: 2, rules: [] }),
    await signed({ version: 3 }, makeKey()),
    await signed({ version: 3, issuedAt: new Date(NOW + DAY_MS).toISOString() }),
  ];
  for (const offer of offers) {
    assert.ok('error' in (await holder.offer(offer, NOW)));
    assert.deepEqual(holder.current(NOW), before);
  }
});

test('[POL-02] a restart does not bring an older bundle back', async () => {
  const floor = memoryFloor();
  await makeHolder(floor).offer(await signed({ version: 5 }), NOW);
  const restarted = makeHolder(floor);
  assert.ok('error' in (await restarted.offer(await signed({ version: 4 }), NOW)));
  assert.equal(restarted.current(NOW).state, 'none');
  assert.ok('installed' in (await restarted.offer(await signed({ version: 5 }), NOW)));
});

test('a bundle does not take effect when the floor cannot be read or saved', async () => {
  const full = { load: async () => undefined, save: () => Promise.reject(new Error('disk full')) };
  const unread = { load: () => Promise.reject(new Error('EIO')), save: async () => {} };
  for (const floor of [full, unread]) {
    const holder = makeHolder(floor);
    const offer = await holder.offer(await signed(), NOW);
    assert.ok('error' in offer && offer.error.id === 'policy.invalid');
    assert.equal(offer.error.reason, 'unreadable');
    assert.match(offer.error.message, /disk full|EIO/);
    assert.equal(holder.current(NOW).state, 'none');
  }
});

test('concurrent offers are considered in order, however slow the floor is', async () => {
  const saved: Floor[] = [];
  const slow: FloorPort = {
    load: async () => saved.at(-1),
    save: async (floor) => {
      // The first save takes the most turns of the loop.
      for (let turn = saved.length; turn < 20; turn++) await Promise.resolve();
      saved.push(floor);
    },
  };
  const holder = makeHolder(slow);
  const offers = [1, 3, 2].map((version) =>
    signed({ version }).then((text) => holder.offer(text, NOW)),
  );
  const kinds = (await Promise.all(offers)).map((offer) => Object.keys(offer)[0]);
  assert.deepEqual(kinds, ['installed', 'installed', 'error']);
  assert.deepEqual(
    saved.map(({ version }) => version),
    [1, 3],
  );
});

test('[POL-02] drops the bundle when its key is no longer trusted', async () => {
  const holder = makeHolder();
  await holder.offer(await signed(), NOW);
  const next = makeKey();
  await holder.offer('', NOW, [...keys, next.publicPem]);
  assert.equal(holder.current(NOW).state, 'active');
  await holder.offer('', NOW, [next.publicPem]);
  assert.equal(holder.current(NOW).state, 'none');
  assert.equal(ask(holder).effect, 'deny');
  assert.ok('installed' in (await holder.offer(await signed({ version: 2 }, next), NOW)));
});

test('[POL-06] a change is reported once, before the first decision under it', async () => {
  const told: string[] = [];
  const onChange = (now: BundleState) => void told.push(nameOfState(now));
  const holder = makeHolder();
  holder.onChange(onChange);
  const decide = (nowMs: number) => {
    told.push(`decided by ${ask(holder, nowMs).policyId}`);
  };
  decide(NOW);
  await holder.offer(await signed({ graceMs: DAY_MS }), NOW);
  await holder.offer(await signed({ graceMs: DAY_MS }), NOW);
  // By another clock, which decides nothing.
  holder.current(NOW + 7 * DAY_MS);
  decide(NOW);
  decide(NOW + 7 * DAY_MS);
  decide(NOW + 7 * DAY_MS);
  holder.note(NOW + 8 * DAY_MS);
  decide(NOW + 8 * DAY_MS);
  await holder.offer('', NOW + 8 * DAY_MS, []);
  await holder.offer('', NOW + 8 * DAY_MS, []);
  assert.deepEqual(told, [
    'none',
    'decided by ',
    'default@1 active',
    'decided by default@1',
    'default@1 stale',
    'decided by default@1',
    'decided by default@1',
    'default@1 expired',
    'decided by default@1',
    'none',
  ]);
});

test('[OBS-02] figures for gauges, with a bundle and without one', async () => {
  const holder = makeHolder();
  const none = { version: 0, ageSeconds: Number.NaN, expiresSeconds: 0 };
  assert.deepEqual(bundleFigures(holder.current(NOW), NOW), none);
  const issuedAt = new Date(NOW - 60_000).toISOString();
  const expiresAt = new Date(NOW + 3_600_000).toISOString();
  await holder.offer(await signed({ version: 3, issuedAt, expiresAt }), NOW);
  const figures = (nowMs: number) => bundleFigures(holder.current(nowMs), nowMs);
  assert.deepEqual(figures(NOW), { version: 3, ageSeconds: 60, expiresSeconds: 3600 });
  assert.deepEqual(figures(NOW + DAY_MS), {
    version: 3,
    ageSeconds: 86_460,
    expiresSeconds: -82_800,
  });
});

test('[POL-02] an unreadable key neither keeps a bundle nor drops one that another key signed', async () => {
  const holder = makeHolder();
  await holder.offer(await signed(), NOW);
  await holder.offer('', NOW, ['garbage', ...keys]);
  assert.equal(holder.current(NOW).state, 'active');
  await holder.offer('', NOW, ['garbage', makeKey().publicPem]);
  assert.equal(holder.current(NOW).state, 'none');
});

test('[POL-02] whatever is offered and whenever, versions only grow and only an active bundle allows', async () => {
  const step = fc.oneof(
    fc.record({ version: fc.integer({ min: 1, max: 4 }), ageDays: fc.nat(9) }),
    fc.record({ passDays: fc.nat(4) }),
    fc.constant({ restart: true }),
  );
  const run = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
    const floor = memoryFloor();
    let holder = makeHolder(floor);
    let nowMs = NOW;
    let highest = 0;
    for (const action of steps) {
      if ('passDays' in action) nowMs += action.passDays * DAY_MS;
      if ('restart' in action) holder = makeHolder(floor);
      if ('version' in action) {
        const issuedMs = nowMs - action.ageDays * DAY_MS;
        const issuedAt = new Date(issuedMs).toISOString();
        const expiresAt = new Date(issuedMs + 7 * DAY_MS).toISOString();
        await holder.offer(await signed({ version: action.version, issuedAt, expiresAt }), nowMs);
      }
      const current = holder.current(nowMs);
      const isAllowed = ask(holder, nowMs).effect === 'allow';
      assert.equal(isAllowed, current.state === 'active');
      if (current.state === 'none') continue;
      assert.ok(current.content.version >= highest);
      assert.equal(current.state === 'active', nowMs < current.expiresAtMs);
      highest = current.content.version;
    }
  });
  await fc.assert(run, { numRuns: 60 });
});
