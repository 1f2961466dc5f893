import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Bundle } from '@zerolatency/policy';
import { canonicalJson, digestOf, digestOfBytes } from '@zerolatency/signing';
import { useLedgerDirectory } from '../test/ledger-fixture.ts';
import { bundleFile, keepBundle, readBundle } from './bundles.ts';
import { sourceOf } from './file-store.ts';

const scratch = useLedgerDirectory();

const BUNDLE: Bundle = {
  schema: 'zerolatency.policy/v1',
  id: 'default',
  version: 1,
  issuedAt: '2030-01-01T00:00:00Z',
  expiresAt: '2030-01-02T00:00:00Z',
  rules: [],
};
const DIGEST = digestOf(BUNDLE);

test('[POL-06] a bundle is kept once, as the bytes that its digest covers', async () => {
  keepBundle(scratch.dir, DIGEST, canonicalJson(BUNDLE));
  const path = bundleFile(scratch.dir, DIGEST);
  assert.deepEqual(readFileSync(path), Buffer.from(canonicalJson(BUNDLE)));
  assert.deepEqual(await readBundle(sourceOf(scratch.dir), DIGEST), {
    state: 'kept',
    content: BUNDLE,
  });
  const { ino } = statSync(path);
  keepBundle(scratch.dir, DIGEST, canonicalJson(BUNDLE));
  assert.equal(statSync(path).ino, ino);
});

test('a kept bundle that was altered is not read, and the next one that decides is kept again', async () => {
  keepBundle(scratch.dir, DIGEST, canonicalJson(BUNDLE));
  writeFileSync(bundleFile(scratch.dir, DIGEST), canonicalJson({ ...BUNDLE, version: 2 }));
  const why = 'does not have its digest';
  assert.deepEqual(await readBundle(sourceOf(scratch.dir), DIGEST), { state: 'altered', why });
  keepBundle(scratch.dir, DIGEST, canonicalJson(BUNDLE));
  assert.equal((await readBundle(sourceOf(scratch.dir), DIGEST)).state, 'kept');
});

test('bytes with their digest that are no bundle are told from a bundle', async () => {
  keepBundle(scratch.dir, DIGEST, canonicalJson(BUNDLE));
  for (const bytes of [Buffer.from('no JSON'), Buffer.from(canonicalJson({ rules: 7 }))]) {
    const digest = digestOfBytes(bytes);
    writeFileSync(bundleFile(scratch.dir, digest), bytes);
    assert.equal((await readBundle(sourceOf(scratch.dir), digest)).state, 'altered');
  }
});

test('a bundle that is not there is missing, and one that cannot be read is an error', async () => {
  assert.deepEqual(await readBundle(sourceOf(scratch.dir), DIGEST), { state: 'missing' });
  mkdirSync(bundleFile(scratch.dir, DIGEST), { recursive: true });
  await assert.rejects(readBundle(sourceOf(scratch.dir), DIGEST), { code: 'EISDIR' });
});

test('keeping bundles leaves no file open', (t) => {
  if (process.platform !== 'linux') return t.skip('needs /proc');
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  for (let n = 0; n < 20; n++) {
    rmSync(bundleFile(scratch.dir, DIGEST), { force: true });
    keepBundle(scratch.dir, DIGEST, canonicalJson(BUNDLE));
  }
  assert.ok(open() < before + 10, `${before} files, then ${open()}`);
});
