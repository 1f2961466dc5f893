import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { intent, useLedgerDirectory } from '../../test/ledger-fixture.ts';

const scratch = useLedgerDirectory();

test('only one process writes a ledger, and a lock left behind is taken over by one', async () => {
  const ledger = await scratch.open();
  await assert.rejects(scratch.open(), { id: 'ledger.failed', message: /process \d+ holds/ });
  await ledger.close();
  assert.ok(!scratch.files().includes('lock'));
  const dead = { pid: process.pid, started: 'an earlier boot/1', token: 'x' };
  const gone = { ...dead, pid: 2 ** 22 + 1 };
  for (const left of [JSON.stringify(dead), '', 'torn', JSON.stringify(gone)]) {
    for (const isClaimed of [false, true]) {
      writeFileSync(join(scratch.dir, 'lock'), left);
      if (isClaimed)
        writeFileSync(join(scratch.dir, 'lock.after.x'), JSON.stringify({ ...gone, token: 'y' }));
      const opening = await Promise.allSettled(Array.from({ length: 8 }, () => scratch.open()));
      const ledgers = opening.filter((result) => result.status === 'fulfilled');
      assert.ok(ledgers.length <= 1);
      const won = ledgers[0]?.value ?? (await scratch.open());
      await won.close();
    }
  }
});

test('a writer whose lock was taken stops instead of spoiling the chain', async (t) => {
  const ledger = await scratch.open({ checkpointEveryMs: 1 });
  writeFileSync(
    join(scratch.dir, 'lock'),
    JSON.stringify({ pid: 1, started: 'x', token: 'other' }),
  );
  await ledger.append(intent(1));
  await t.waitFor(() => assert.equal(ledger.state, 'failed'));
  await assert.rejects(ledger.append(intent(2)), { id: 'ledger.failed', message: /took the lock/ });
});
