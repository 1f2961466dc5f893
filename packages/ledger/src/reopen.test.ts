import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fullDisk } from '@zerolatency/testing';
import {
  type DiskOperation,
  intent,
  keys,
  useLedgerDirectory,
  watchedDisk,
} from '../test/ledger-fixture.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();

const FAULTS: readonly [code: string, operation: DiskOperation][] = [
  ['ENOSPC', 'appendFile'],
  ['EDQUOT', 'appendFile'],
  ['EROFS', 'open'],
  ['EIO', 'datasync'],
  ['EIO', 'syncFolder'],
];

for (const [code, broken] of FAULTS) {
  test(`[AUD-02] a ledger that failed with ${code} at ${broken} goes on with what it acknowledged`, async () => {
    let isBroken = false;
    const disk = watchedDisk((operation) => {
      if (isBroken && operation === broken) throw Object.assign(new Error(code), { code });
    });
    // A segment of its own for each record or two, so that all operations occur.
    const ledger = await scratch.open({ fsync: true, disk, maxSegmentBytes: 600 });
    await ledger.append(intent(1));
    isBroken = true;
    const lost = await Promise.allSettled([2, 3, 4].map((n) => ledger.append(intent(n))));
    assert.ok(lost.some(({ status }) => status === 'rejected'));
    const { size } = ledger;
    await assert.rejects(ledger.append(intent(5)), { id: 'ledger.failed', message: RegExp(code) });
    isBroken = false;
    const again = await scratch.reopen(ledger);
    assert.equal(again.size, size);
    const kept = lost.filter(({ status }) => status === 'fulfilled');
    assert.equal(again.openIntents().length, 1 + kept.length);
    await again.append(intent(6));
    assert.ok((await verifyLedger(scratch.dir, { keys })).ok);
  });
}

test('a ledger whose folder was removed acknowledges nothing more, and goes on once it is restored', async () => {
  const dir = join(scratch.dir, 'ledger');
  const ledger = await scratch.open({ dir });
  await ledger.append(intent(1));
  const away = `${dir}.away`;
  renameSync(dir, away);
  await assert.rejects(ledger.append(intent(2)), { id: 'ledger.failed', message: /removed/ });
  await assert.rejects(ledger.reopen(), { id: 'ledger.failed', message: /ENOENT/ });
  assert.throws(() => readdirSync(dir), { code: 'ENOENT' });
  renameSync(away, dir);
  const again = await scratch.reopen(ledger);
  assert.equal(again.size, 2);
});

test('a ledger does not go on in the folder of another, or in an older copy of its own', async () => {
  const dir = join(scratch.dir, 'ledger');
  const ledger = await scratch.open({ dir });
  await ledger.append(intent(1));
  cpSync(dir, `${dir}.copy`, { recursive: true });
  await ledger.append(intent(2));
  rmSync(dir, { recursive: true });
  await assert.rejects(ledger.append(intent(3)), { id: 'ledger.failed' });
  const other = await scratch.open({ dir });
  for (let i = 1; i < 5; i++) await other.append(intent(i));
  await other.close();
  await assert.rejects(ledger.reopen(), {
    id: 'ledger.corrupt',
    message: /the records are of ledger/,
  });
  rmSync(dir, { recursive: true });
  cpSync(`${dir}.copy`, dir, { recursive: true });
  rmSync(join(dir, 'lock'));
  await assert.rejects(ledger.reopen(), {
    id: 'ledger.corrupt',
    message: /record 2 is missing: this process covers 3/,
  });
  assert.deepEqual(readdirSync(dir).includes('lock'), false, 'a failed start leaves no lock file');
});

test('a disk without space fails the ledger as ledger.failed, and a start without a lock file', async (t) => {
  const disk = fullDisk(t, { bytes: 256 * 1024 });
  if (disk === undefined) return t.skip('needs to mount a file system');
  disk.fill();
  const dir = join(disk.dir, 'ledger');
  const full = { id: 'ledger.failed', message: /full|ENOSPC/ };
  await assert.rejects(scratch.open({ dir, fsync: true }), full);
  assert.deepEqual(readdirSync(dir), []);
  disk.empty();
  let ledger = await scratch.open({ dir, fsync: true });
  await ledger.append(intent(1));
  disk.fill();
  const before = ledger.size;
  let appended = 0;
  const appendMore = async () => {
    for (;;) await ledger.append(intent(2 + appended++));
  };
  await assert.rejects(appendMore(), full);
  const { size } = ledger;
  assert.equal(size, before + appended - 1);
  disk.empty();
  ledger = await scratch.reopen(ledger);
  assert.equal(ledger.size, size);
  await ledger.append(intent(9_000));
  assert.ok((await verifyLedger(dir, { keys })).ok);
  assert.equal(readFileSync(join(dir, 'checkpoint'), 'utf8').split('\n')[1], String(size));
});
