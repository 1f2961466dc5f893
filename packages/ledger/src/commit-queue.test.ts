import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intent, receipt, useLedgerDirectory, watchedDisk } from '../test/ledger-fixture.ts';
import type { LedgerObserver } from './commit-queue.ts';

const scratch = useLedgerDirectory();

function watched() {
  const told = { recorded: [] as string[], acknowledged: 0, synced: 0 };
  const startedMs = performance.now();
  const assertPassed = (seconds: number) =>
    assert.ok(seconds > 0 && seconds * 1000 <= performance.now() - startedMs, `${seconds} s`);
  const observer: LedgerObserver = {
    recorded: (kind) => told.recorded.push(kind),
    acknowledged(seconds) {
      assertPassed(seconds);
      told.acknowledged += 1;
    },
    synced(seconds) {
      assertPassed(seconds);
      told.synced += 1;
    },
  };
  return { told, observer };
}

test('[OBS-02] [AUD-02] each record is reported once it is on disk, and its group shares one fsync', async () => {
  const { told, observer } = watched();
  const ledger = await scratch.open({ fsync: true, observer });
  assert.deepEqual([told.recorded, told.acknowledged], [['ledger.opened'], 0]);
  told.synced = 0;
  const entries = [intent(2), await receipt(1)];
  ledger.appendSoon(intent(1));
  const appended = Promise.all(entries.map((entry) => ledger.append(entry)));
  assert.equal(told.recorded.length, 1);
  await appended;
  const kinds = ['ledger.opened', 'call.intent', 'call.intent', 'call.receipt'];
  assert.deepEqual(told, { recorded: kinds, acknowledged: 2, synced: 1 });
  assert.equal(ledger.size, told.recorded.length);
});

test('[AUD-02] a record that the disk refuses is reported neither as recorded nor as acknowledged', async () => {
  const { told, observer } = watched();
  let isFull = false;
  const ledger = await scratch.open({
    observer,
    disk: watchedDisk((operation) => {
      if (isFull && operation === 'appendFile') throw new Error('disk full');
    }),
  });
  isFull = true;
  await assert.rejects(ledger.append(intent(1)), /disk full/);
  assert.deepEqual(told, { recorded: ['ledger.opened'], acknowledged: 0, synced: 0 });
});
