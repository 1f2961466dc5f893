import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intent, keys, receipt, useLedgerDirectory, watchedDisk } from '../test/ledger-fixture.ts';
import { realDisk } from './file-store.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();

test('[AUD-02] acknowledges nothing after a failed write or fsync', async () => {
  for (const broken of ['appendFile', 'datasync'] as const) {
    let isBroken = false;
    let told = 0;
    const disk = watchedDisk((operation) => {
      if (isBroken && operation === broken) throw new Error('no space left on device');
    });
    const ledger = await scratch.open({ fsync: true, disk, onFailure: () => told++ });
    const before = ledger.size;
    isBroken = true;
    const waiting = [ledger.append(intent(1)), ledger.append(intent(2))];
    for (const result of await Promise.allSettled(waiting)) assert.equal(result.status, 'rejected');
    isBroken = false;
    const error = { id: 'ledger.failed', message: /no space left/ };
    await assert.rejects(ledger.append(intent(3)), error);
    assert.throws(() => ledger.appendSoon(intent(3)), error);
    assert.equal(ledger.state, 'failed');
    assert.equal(told, 1);
    assert.equal(ledger.size, before);
    await assert.rejects(ledger.close(), error);
    const again = await scratch.open();
    await again.append(intent(4));
    await again.close();
    assert.ok((await verifyLedger(scratch.dir, { keys })).ok);
  }
});

test('a full disk fails the ledger, and its file can be opened again', async (t) => {
  if (process.platform !== 'linux') return t.skip('needs /dev/full');
  const disk = { ...realDisk, open: () => realDisk.open('/dev/full') };
  const failure = { id: 'ledger.failed', message: /ENOSPC/ };
  await assert.rejects(scratch.open({ disk, fsync: false }), failure);
  await scratch.open();
});

test('[AUD-02] the first failure is the one that is reported, whatever fails after it', async (t) => {
  const appended = Promise.withResolvers<void>();
  const failures: string[] = [];
  let isBroken = false;
  const disk = watchedDisk((operation) => {
    if (!isBroken) return;
    if (operation === 'appendFile') return appended.promise;
    if (operation === 'replace') throw new Error('first');
  });
  const onFailure = ({ message }: Error) => failures.push(message);
  const ledger = await scratch.open({ disk, checkpointEveryMs: 1, onFailure });
  await ledger.append(intent(1));
  isBroken = true;
  const waiting = ledger.append(intent(2));
  await t.waitFor(() => assert.equal(failures.length, 1), { timeout: 30_000 });
  appended.reject(new Error('second'));
  await assert.rejects(waiting, /first/);
  assert.equal(failures.length, 1);
  await assert.rejects(ledger.close(), /first/);
});

test('[AUD-02] what waits for a disk that has stopped is bounded', async () => {
  const stuck = Promise.withResolvers<void>();
  let isStuck = false;
  const disk = watchedDisk((operation) => {
    if (isStuck && operation === 'appendFile') return stuck.promise;
  });
  const ledger = await scratch.open({ disk });
  isStuck = true;
  const { kind, body } = await receipt(1);
  assert.ok(kind === 'call.receipt');
  const large = { ...body.receipt, payload: 'A'.repeat(1_000_000) };
  const append = () => ledger.appendSoon({ kind, body: { ...body, receipt: large } });
  const appendMegabytes = (count: number) => {
    for (let n = 0; n < count; n++) append();
  };
  appendMegabytes(60);
  const full = { id: 'limit.exceeded', message: /wait for the ledger's disk/ };
  assert.throws(() => appendMegabytes(60), full);
  assert.equal(ledger.state, 'open');
  stuck.reject(new Error('the disk is gone'));
  await assert.rejects(ledger.close(), /the disk is gone/);
});
