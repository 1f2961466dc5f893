import assert from 'node:assert/strict';
import { renameSync, truncateSync } from 'node:fs';
import { open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import {
  type LedgerDisk,
  type LedgerEntry,
  openLedger,
  readLedger,
  verifyLedger,
} from '@zerolatency/ledger';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { eventually, fullDisk, tempDir } from '@zerolatency/testing';
import { HostLedger } from './host-ledger.ts';
import { policyEntry } from './records.ts';

const signer = signerFromPem(generateKeyPair().privatePem);
const STARTED: LedgerEntry = {
  kind: 'host.started',
  body: { version: '1', configDigest: `sha256:${'0'.repeat(64)}` },
};

async function opened(t: TestContext, parent: string, disk?: LedgerDisk) {
  const dir = join(parent, 'ledger');
  const failures: ZlError[] = [];
  let reopened = 0;
  const ledger = await HostLedger.open({
    open: (more) =>
      openLedger({ dir, signer, origin: 'test/host', ...(disk && { disk }), ...more }),
    onFailed: (error) => failures.push(error),
    onReopened: () => reopened++,
  });
  ledger.resumeWith(() => policyEntry({ state: 'none' }));
  // A test that fails may leave a ledger that cannot be closed well.
  t.after(() => ledger.close().catch(() => {}));
  await ledger.append(STARTED);
  return { dir, ledger, failures, reopened: () => reopened };
}

async function kindsIn(dir: string): Promise<string[]> {
  const kinds: string[] = [];
  for await (const { record } of readLedger(dir)) kinds.push(record.kind);
  return kinds;
}

test('[AUD-02] a ledger whose disk was full takes records again once there is space', async (t) => {
  const disk = fullDisk(t, { bytes: 2 * 1024 * 1024 });
  if (disk === undefined) return t.skip('needs to mount a file system');
  const { dir, ledger, failures, reopened } = await opened(t, disk.dir);
  disk.fill();
  const fillUp = async () => {
    for (;;) await ledger.append(STARTED);
  };
  await assert.rejects(fillUp(), { id: 'ledger.failed', message: /ENOSPC/ });
  assert.throws(() => ledger.assertWritable(), { id: 'ledger.failed', retryable: true });
  const { size } = ledger;
  // Found again, with too little space to go on.
  await eventually(() => /bytes left/.test(ledger.failure?.message ?? ''));
  disk.empty();
  await eventually(() => reopened() === 1);
  assert.equal(failures.length, 1);
  ledger.assertWritable();
  await ledger.append(STARTED);
  await ledger.close();
  const kinds = await kindsIn(dir);
  assert.equal(kinds[size], 'policy.changed', 'the policy comes first');
  assert.equal(kinds.length, size + 2);
  assert.ok((await verifyLedger(dir, { keys: [signer.verifier()] })).ok);
});

test('a ledger whose folder is gone takes records again once the folder is back', async (t) => {
  const { dir, ledger, failures, reopened } = await opened(t, tempDir(t));
  renameSync(dir, `${dir}.away`);
  await assert.rejects(ledger.append(STARTED), { id: 'ledger.failed' });
  await eventually(() => /cannot be read: ENOENT/.test(ledger.failure?.message ?? ''));
  renameSync(`${dir}.away`, dir);
  await eventually(() => reopened() === 1);
  assert.equal(failures.length, 1);
  await ledger.append(STARTED);
  await ledger.close();
  assert.deepEqual((await kindsIn(dir)).slice(1), [
    'host.started',
    'policy.changed',
    'host.started',
  ]);
});

test('a ledger that is closed while it cannot be written is not opened again', async (t) => {
  const { dir, ledger, reopened } = await opened(t, tempDir(t));
  renameSync(dir, `${dir}.away`);
  await assert.rejects(ledger.append(STARTED), { id: 'ledger.failed' });
  await assert.rejects(ledger.close(), { id: 'ledger.failed' });
  renameSync(`${dir}.away`, dir);
  assert.equal(reopened(), 0);
  assert.throws(() => ledger.appendSoon(STARTED), { id: 'ledger.failed' });
});

test('a ledger that is closed while it is opened again leaves its folder to others', async (t) => {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  let isSlow = false;
  const { dir, ledger, reopened } = await opened(t, tempDir(t), {
    open: async (path) => {
      if (isSlow) {
        reached.resolve();
        await released.promise;
      }
      return open(path, 'a');
    },
    remove: (path) => rm(path),
    syncFolder: async () => {},
    replace: (path, text) => writeFile(path, text),
  });
  renameSync(dir, `${dir}.away`);
  await assert.rejects(ledger.append(STARTED), { id: 'ledger.failed' });
  isSlow = true;
  renameSync(`${dir}.away`, dir);
  await reached.promise;
  const closed = ledger.close();
  released.resolve();
  await closed;
  assert.equal(reopened(), 1);
  await (await openLedger({ dir, signer, origin: 'test/host' })).close();
});

test('a ledger that was corrupt at the start says so and stays closed', async (t) => {
  const { dir, ledger } = await opened(t, tempDir(t));
  assert.equal(ledger.isCorrupt, false);
  await ledger.close();
  truncateSync(join(dir, 'segment-0000000000000000.jsonl'), 10);
  const failures: ZlError[] = [];
  const corrupt = await HostLedger.open({
    open: (more) => openLedger({ dir, signer, origin: 'test/host', ...more }),
    onFailed: (error) => failures.push(error),
    onReopened: () => assert.fail('a person restores it meanwhile'),
  });
  assert.equal(corrupt.isCorrupt, true);
  for (const write of [() => corrupt.assertWritable(), () => corrupt.appendSoon(STARTED)]) {
    assert.throws(write, { id: 'ledger.corrupt' });
  }
  assert.deepEqual([failures.length, corrupt.size, corrupt.openIntents()], [1, 0, []]);
  await corrupt.close();
});

test('a ledger that is found corrupt while it cannot be written is reported once more', async (t) => {
  const { dir, ledger, failures } = await opened(t, tempDir(t));
  renameSync(dir, `${dir}.away`);
  await assert.rejects(ledger.append(STARTED), { id: 'ledger.failed' });
  truncateSync(join(`${dir}.away`, 'segment-0000000000000000.jsonl'), 10);
  renameSync(`${dir}.away`, dir);
  await eventually(() => ledger.isCorrupt);
  assert.deepEqual(
    failures.map(({ id }) => id),
    ['ledger.failed', 'ledger.corrupt'],
  );
});
