import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openFloorFile, watchDocument } from '@zerolatency/signing';
import { eventually, FakeClock, makeKey, tempDir } from '@zerolatency/testing';
import {
  DAY_MS,
  NOW,
  nameOfState,
  policyKey,
  sampleRequest,
  signed,
} from '../test/sample-bundle.ts';
import { BundleHolder } from './index.ts';

/** Looks only happen when the test asks. */
const NEVER_MS = 2 ** 31 - 1;

function setUp(t: TestContext) {
  const dir = tempDir(t);
  const paths = {
    envelope: join(dir, 'bundle.dsse.json'),
    keys: join(dir, 'keys'),
    floor: join(dir, 'floor.json'),
  };
  mkdirSync(paths.keys);
  writeFileSync(join(paths.keys, 'one.pem'), policyKey.publicPem);
  writeFileSync(join(paths.keys, 'README'), 'not a key');
  const clock = new FakeClock(NOW);
  const logged: string[] = [];
  const events: string[] = [];
  const note = (_: object, message: string) => logged.push(message);
  const start = async (pollMs = NEVER_MS) => {
    const holder = new BundleHolder({ floor: openFloorFile(paths.floor) });
    holder.onChange((now) => events.push(nameOfState(now)));
    const watch = await watchDocument({
      holder,
      file: paths.envelope,
      keysDir: paths.keys,
      log: { info: note, warn: note },
      onRefused: ({ reason }) => events.push(`refused: ${reason}`),
      nowMs: clock.nowMs,
      pollMs,
    });
    t.after(() => watch.close());
    return { ...watch, holder };
  };
  const put = (text: string) => {
    writeFileSync(`${paths.envelope}.next`, text);
    renameSync(`${paths.envelope}.next`, paths.envelope);
  };
  return { paths, clock, logged, events, start, put };
}

test('[POL-02] the start installs a bundle, and a newer file replaces it live', async (t) => {
  const { start, put, events } = setUp(t);
  put(await signed());
  const { holder, check } = await start();
  assert.equal(holder.decide(sampleRequest()).policyId, 'default@1');
  put(await signed({ version: 2 }));
  await check();
  assert.equal(holder.decide(sampleRequest()).policyId, 'default@2');
  assert.deepEqual(events, ['default@1 active', 'default@2 active']);
});

test('[POL-02] a start without a bundle denies tools until one is there', async (t) => {
  const { start, put, clock, events } = setUp(t);
  const { holder, check } = await start();
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  put(await signed());
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'active');
  assert.deepEqual(events, ['refused: unreadable', 'none', 'default@1 active']);
});

test('[POL-02] a bad file is reported once and leaves the bundle in force', async (t) => {
  const { start, put, logged, events } = setUp(t);
  put(await signed({ version: 2 }));
  const { holder, check } = await start();
  for (const bad of [
    'garbage',
    await signed({ version: 1 }),
    await signed({ version: 3 }, makeKey()),
  ]) {
    put(bad);
    await check();
    await check();
    assert.equal(holder.decide(sampleRequest()).policyId, 'default@2');
  }
  const refused = ['malformed', 'rolled_back', 'signature'].map((reason) => `refused: ${reason}`);
  assert.deepEqual(events, ['default@2 active', ...refused]);
  assert.equal(logged.length, 4);
  assert.match(logged.join('\n'), /version 1 is older than 2, accepted before/);
});

test('[POL-02] the newest version survives a restart on disk', async (t) => {
  const { start, put, clock, logged } = setUp(t);
  put(await signed({ version: 7 }));
  (await start()).close();
  put(await signed({ version: 6 }));
  const { holder } = await start();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  assert.match(logged.at(-1)!, /6 is older than 7/);
});

test('an unreadable floor lets no bundle in', async (t) => {
  const { start, put, clock, paths, logged } = setUp(t);
  put(await signed());
  writeFileSync(paths.floor, '{"id":"default","version":"1"}');
  const { holder } = await start();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  assert.match(logged.join(), /cannot be read as a floor/);
});

test('[POL-02] a bundle from the future takes effect when its time comes, without a new file', async (t) => {
  const { start, put, clock, events } = setUp(t);
  put(await signed({ issuedAt: new Date(NOW + DAY_MS).toISOString() }));
  const { holder, check } = await start();
  await check();
  clock.advance(DAY_MS);
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'active');
  assert.deepEqual(events, ['refused: not_yet', 'none', 'default@1 active']);
});

test('[POL-02] becoming stale and expiring are reported once each, and a fresh bundle ends both', async (t) => {
  const { start, put, clock, events } = setUp(t);
  put(await signed({ graceMs: DAY_MS }));
  const { holder, check } = await start();
  clock.advance(7 * DAY_MS);
  await check();
  await check();
  clock.advance(DAY_MS);
  await check();
  await check();
  const issuedAt = new Date(clock.nowMs()).toISOString();
  const expiresAt = new Date(clock.nowMs() + DAY_MS).toISOString();
  put(await signed({ version: 2, issuedAt, expiresAt }));
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'active');
  assert.deepEqual(events, [
    'default@1 active',
    'default@1 stale',
    'default@1 expired',
    'default@2 active',
  ]);
});

test('[POL-02] keys rotate in their directory, and removing one drops its bundle', async (t) => {
  const { start, put, clock, paths, events } = setUp(t);
  put(await signed());
  const { holder, check } = await start();
  const next = makeKey();
  writeFileSync(join(paths.keys, 'two.pem'), next.publicPem);
  put(await signed({ version: 2 }, next));
  await check();
  assert.equal(holder.decide(sampleRequest()).policyId, 'default@2');
  rmSync(join(paths.keys, 'two.pem'));
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  assert.deepEqual(events, ['default@1 active', 'default@2 active', 'none', 'refused: signature']);
});

test('[POL-02] removing a key drops its bundle while the file of the bundle is missing', async (t) => {
  const { start, put, clock, paths, logged, events } = setUp(t);
  put(await signed());
  const { holder, check } = await start();
  rmSync(paths.envelope);
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'active');
  rmSync(join(paths.keys, 'one.pem'));
  await check();
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  assert.deepEqual(events, ['default@1 active', 'refused: unreadable', 'none']);
  assert.equal(logged.filter((message) => /no longer trusted/.test(message)).length, 1);
});

test('an unreadable key file leaves keys and bundle as they are', async (t) => {
  const { start, put, clock, paths, logged } = setUp(t);
  put(await signed());
  const { holder, check } = await start();
  writeFileSync(join(paths.keys, 'two.pem'), 'garbage');
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'active');
  assert.match(logged.at(-1)!, /public key PEM cannot be read/);
});

test('the watch polls by itself', async (t) => {
  const { start, put, clock } = setUp(t);
  const { holder } = await start(1);
  put(await signed());
  await eventually(() => holder.current(clock.nowMs()).state === 'active');
});
