import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { intent, useLedgerDirectory } from '../test/ledger-fixture.ts';

const scratch = useLedgerDirectory();

test('only one process writes a ledger', async () => {
  const ledger = await scratch.open();
  await assert.rejects(scratch.open(), { id: 'ledger.failed', message: /process \d+ holds/ });
  await ledger.close();
  assert.ok(!scratch.files().includes('lock'));
  await (await scratch.open()).close();
});

test('a writer whose lock was taken stops instead of spoiling the chain', async (t) => {
  const ledger = await scratch.open({ checkpointEveryMs: 1 });
  const other = { pid: 1, birth: 'x', token: 'other' };
  writeFileSync(join(scratch.dir, 'lock'), JSON.stringify(other));
  await ledger.append(intent(1));
  await t.waitFor(() => assert.equal(ledger.state, 'failed'));
  await assert.rejects(ledger.append(intent(2)), { id: 'ledger.failed', message: /took the lock/ });
});
