import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { platform } from 'node:os';
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

test('the lock of a process that ended and was never asked how is taken over', {
  skip: platform() === 'linux' ? false : 'reads /proc',
}, async (t) => {
  // exec puts a program in the shell's place that never waits for the shell's child.
  const script = 'sleep 0 & echo $!; exec sleep 60';
  const parent = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => parent.kill('SIGKILL'));
  const [printed] = await once(parent.stdout, 'data');
  const pid = Number(String(printed));
  const stat = await t.waitFor(() => {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    assert.match(text, /\) Z /);
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  });
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const left = { pid, started: `${boot}/${stat[19]}`, token: 'x' };
  writeFileSync(join(scratch.dir, 'lock'), JSON.stringify(left));
  await (await scratch.open()).close();
});
