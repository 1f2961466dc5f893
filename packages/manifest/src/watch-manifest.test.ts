import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  DocumentHolder,
  openFloorFile,
  signDocument,
  signerFromPem,
  watchDocument,
} from '@zerolatency/signing';
import { eventually, FakeClock, makeKey, tempDir } from '@zerolatency/testing';
import { type Manifest, SERVER_MANIFEST } from './index.ts';

/** Looks only happen when the test asks. */
const NEVER_MS = 2 ** 31 - 1;
const key = makeKey();

function signed(changes: Partial<Manifest> = {}, by = key): Promise<string> {
  const manifest: Manifest = {
    schema: SERVER_MANIFEST.schema,
    id: 'test',
    version: 1,
    issuedAt: '2026-01-01T00:00:00Z',
    servers: [],
    ...changes,
  };
  return signDocument(SERVER_MANIFEST, manifest, [signerFromPem(by.privatePem)]);
}

const unsigned = (envelope: string) => JSON.stringify({ ...JSON.parse(envelope), signatures: [] });

function setUp(t: TestContext) {
  const dir = tempDir(t);
  const paths = { manifest: join(dir, 'm.json'), keys: join(dir, 'keys'), floor: join(dir, 'f') };
  mkdirSync(paths.keys);
  writeFileSync(join(paths.keys, 'one.pem'), key.publicPem);
  const clock = new FakeClock(Date.UTC(2030, 0, 1));
  const told: string[] = [];
  /** The versions in force, one after the other; undefined while there is none. */
  const followed: (number | undefined)[] = [];
  const start = async (pollMs = NEVER_MS) => {
    const holder = new DocumentHolder(SERVER_MANIFEST, { floor: openFloorFile(paths.floor) });
    holder.onChange((now) => followed.push(now.state === 'none' ? undefined : now.content.version));
    const watch = await watchDocument({
      holder,
      file: paths.manifest,
      keysDir: paths.keys,
      log: {
        info: () => {},
        warn: (fields, message) => {
          assert.ok('file' in fields);
          told.push(message);
        },
      },
      nowMs: clock.nowMs,
      pollMs,
    });
    t.after(() => watch.close());
    return { ...watch, current: () => holder.current(clock.nowMs()) };
  };
  const put = (text: string) => {
    writeFileSync(`${paths.manifest}.next`, text);
    renameSync(`${paths.manifest}.next`, paths.manifest);
  };
  return { paths, clock, told, followed, start, put };
}

test('[BRG-02] a newer manifest takes effect live and is named', async (t) => {
  const { start, put, followed } = setUp(t);
  put(await signed());
  const watch = await start();
  put(await signed({ version: 2 }));
  await watch.check();
  await watch.check();
  assert.deepEqual(followed, [1, 2]);
  const state = watch.current();
  assert.equal(state.state === 'active' && state.name, 'test@2');
});

test('[BRG-02] a manifest that is unsigned, foreign, malformed, older or of the same version is reported once, and the one before stays', async (t) => {
  const { start, put, followed, told } = setUp(t);
  put(await signed({ version: 5 }));
  const watch = await start();
  const later = new Date(Date.UTC(2031, 0, 1)).toISOString();
  const bad: readonly (readonly [string, RegExp])[] = [
    [unsigned(await signed({ version: 6 })), /signed by 0 known keys/],
    ['garbage', /not JSON/],
    [await signed({ version: 6 }, makeKey()), /signed by 0 known keys/],
    [await signed({ version: 4 }), /its version 4 is older than 5, accepted before/],
    [await signed({ version: 5, issuedAt: '2026-01-02T00:00:00Z' }), /differs from the version 5/],
    [await signed({ version: 6, id: 'other' }), /this installation follows test/],
    [await signed({ version: 6, issuedAt: later }), /issued in the future/],
  ];
  for (const [text, why] of bad) {
    put(text);
    await watch.check();
    await watch.check();
    assert.match(told.at(-1)!, why);
  }
  assert.equal(told.length, bad.length, told.join('\n'));
  assert.deepEqual(followed, [5]);
  const state = watch.current();
  assert.equal(state.state === 'active' && state.name, 'test@5');
});

test('[BRG-02] a restart forgets no version: an older manifest starts nothing', async (t) => {
  const { start, put, followed } = setUp(t);
  put(await signed({ version: 7 }));
  (await start()).close();
  put(await signed({ version: 6 }));
  const watch = await start();
  assert.deepEqual(followed, [7, undefined]);
  assert.equal(watch.current().state, 'none');
  assert.match(watch.refusal()?.message ?? '', /6 is older than 7/);
  assert.equal(watch.refusal()?.reason, 'rolled_back');
  put(await signed({ version: 7 }));
  await watch.check();
  assert.deepEqual(followed, [7, undefined, 7]);
  assert.equal(watch.refusal(), undefined);
});

test('a bridge without a manifest waits for one', async (t) => {
  const { start, put, followed } = setUp(t);
  const watch = await start(1);
  assert.match(watch.refusal()?.message ?? '', /server manifest refused: ENOENT/);
  put(await signed());
  await eventually(() => followed.length === 2);
  assert.deepEqual(followed, [undefined, 1]);
});

test('a manifest from the future takes effect when its time comes, without a new file', async (t) => {
  const { start, put, clock, followed } = setUp(t);
  put(await signed({ issuedAt: new Date(clock.nowMs() + 3_600_000).toISOString() }));
  const watch = await start();
  assert.deepEqual(followed, [undefined]);
  clock.advance(3_600_000);
  await watch.check();
  assert.deepEqual(followed, [undefined, 1]);
});

test('[BRG-02] keys rotate silently, and removing one drops its manifest', async (t) => {
  const { start, put, paths, followed, told } = setUp(t);
  put(await signed());
  const watch = await start();
  const next = makeKey();
  writeFileSync(join(paths.keys, 'two.pem'), next.publicPem);
  await watch.check();
  // The same content, so there is nothing to do when the old key goes in the same moment.
  put(await signed({}, next));
  rmSync(join(paths.keys, 'one.pem'));
  await watch.check();
  assert.deepEqual([followed, told], [[1], []]);
  writeFileSync(join(paths.keys, 'two.pem'), makeKey().publicPem);
  await watch.check();
  assert.deepEqual(followed, [1, undefined]);
  assert.match(told.join('\n'), /no server runs\n.*signed by 0 known keys/);
  assert.equal(watch.current().state, 'none');
});

test('an unreadable key or floor leaves keys and manifest as they are', async (t) => {
  const { start, put, paths, followed, told } = setUp(t);
  put(await signed());
  const watch = await start();
  writeFileSync(join(paths.keys, 'two.pem'), 'garbage');
  await watch.check();
  assert.match(told.at(-1)!, /public key PEM cannot be read/);
  rmSync(join(paths.keys, 'two.pem'));
  writeFileSync(paths.floor, '{}');
  put(await signed({ version: 2 }));
  await watch.check();
  assert.match(told.at(-1)!, /cannot be read as a floor/);
  assert.deepEqual(followed, [1]);
  assert.equal(watch.current().state, 'active');
});

test('[BRG-02] a revoked key drops its manifest, even while another key is unreadable', async (t) => {
  const { start, put, paths, followed } = setUp(t);
  put(await signed());
  const watch = await start();
  writeFileSync(join(paths.keys, 'two.pem'), 'garbage');
  rmSync(join(paths.keys, 'one.pem'));
  await watch.check();
  assert.deepEqual(followed, [1, undefined]);
  assert.equal(watch.current().state, 'none');
});
