import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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

const UNREADABLE: Record<string, (path: string) => void> = {
  'is a FIFO': (path) => execFileSync('mkfifo', [path]),
  'is a folder': (path) => mkdirSync(path),
  'is too large': (path) => execFileSync('truncate', ['-s', '10M', path]),
};

for (const [what, replace] of Object.entries(UNREADABLE)) {
  test(`[POL-02] a bundle that ${what} is reported and hides no revoked key`, async (t) => {
    const { start, put, clock, paths, events } = setUp(t);
    put(await signed());
    const { holder, check, refusal } = await start();
    rmSync(paths.envelope);
    replace(paths.envelope);
    await check();
    assert.equal(refusal()?.reason, 'unreadable');
    assert.equal(holder.current(clock.nowMs()).state, 'active');
    rmSync(join(paths.keys, 'one.pem'));
    await check();
    assert.equal(holder.current(clock.nowMs()).state, 'none');
    assert.deepEqual(events, ['default@1 active', 'refused: unreadable', 'none']);
  });
}

test('[POL-02] a key file that is a FIFO is reported and hides no revoked key', async (t) => {
  const { start, put, clock, paths, events } = setUp(t);
  put(await signed());
  const { holder, check } = await start();
  execFileSync('mkfifo', [join(paths.keys, 'two.pem')]);
  await check();
  rmSync(join(paths.keys, 'one.pem'));
  await check();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  assert.ok(events.some((event) => event.startsWith('refused: ')));
});

test('[POL-02] an unreadable bundle in force goes stale and expires', async (t) => {
  const { start, put, clock, paths, events } = setUp(t);
  put(await signed({ graceMs: DAY_MS }));
  const { check } = await start();
  rmSync(paths.envelope);
  mkdirSync(paths.envelope);
  for (const days of [7, 1]) {
    clock.advance(days * DAY_MS);
    await check();
  }
  const states = events.filter((event) => event.startsWith('default@1'));
  assert.deepEqual(states, ['default@1 active', 'default@1 stale', 'default@1 expired']);
  await eventually(() => JSON.parse(readFileSync(paths.floor, 'utf8')).seenMs === clock.nowMs());
});

test('[POL-02] a clock that is set back brings no stale bundle back to life', async (t) => {
  const { start, put, clock, events, paths } = setUp(t);
  put(await signed({ graceMs: DAY_MS }));
  const running = await start();
  clock.advance(7 * DAY_MS);
  await running.check();
  clock.advance(-6 * DAY_MS);
  await running.check();
  assert.equal(running.holder.current(clock.nowMs()).state, 'stale');
  await eventually(() => JSON.parse(readFileSync(paths.floor, 'utf8')).seenMs > NOW + DAY_MS);
  running.close();
  const { holder, refusal } = await start();
  assert.equal(holder.current(clock.nowMs()).state, 'none');
  assert.deepEqual([refusal()?.id, refusal()?.reason], ['clock.behind', 'clock_behind']);
  assert.ok(events.includes('refused: clock_behind'));
});

test('[POL-02] a clock that is a minute back changes nothing', async (t) => {
  const { start, put, clock } = setUp(t);
  put(await signed());
  (await start()).close();
  clock.advance(-60_000);
  const { holder } = await start();
  assert.equal(holder.current(clock.nowMs()).state, 'active');
});

test('a watch does not keep its process running', async (t) => {
  const { start } = setUp(t);
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const watch = await start();
  assert.ok(timers() <= before, `${before} timers, then ${timers()}`);
  watch.close();
});

test('the watch polls by itself', async (t) => {
  const { start, put, clock } = setUp(t);
  const { holder } = await start(1);
  put(await signed());
  await eventually(() => holder.current(clock.nowMs()).state === 'active');
});
