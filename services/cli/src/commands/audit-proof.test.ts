import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { claimedCheckpoint, openLedger } from '@zerolatency/ledger';
import { signCheckpoint } from '@zerolatency/ledger/checkpoint';
import { generateKeyPair } from '@zerolatency/signing';
import { audited } from '../../test/audited.ts';

test('[AUD-04] a record is proved, and the proof checked without the ledger', async (t) => {
  const { dir, ledgerDir, show, zl } = await audited(t);
  const keys = ['--host-keys', join(dir, 'keys')];
  const proof = join(dir, 'record.tlog-proof');
  const record = join(dir, 'record.json');
  await writeFile(proof, (await zl('prove', ledgerDir, '--record', '2')).stdout);
  const [, , third = ''] = (await show('--json')).stdout.split('\n');
  await writeFile(record, `${third}\n`);
  const checked = await zl('check-proof', proof, '--record', record, ...keys);
  assert.match(
    checked.stdout,
    /^Proved: record 2 is in it; the checkpoint covers 5 records of ledger /,
  );
  assert.equal(checked.status, 0);
  await writeFile(record, third.replace('user-1', 'user-9'));
  const altered = await zl('check-proof', proof, '--record', record, ...keys);
  assert.deepEqual([altered.status, altered.stdout.slice(0, 11)], [1, 'Not proved:']);
  const stranger = join(dir, 'stranger.pem');
  await writeFile(stranger, generateKeyPair().publicPem);
  const unknown = await zl('check-proof', proof, '--record', record, '--host-keys', stranger);
  assert.equal(unknown.status, 4);
  assert.match(unknown.stdout, /^Not checked: .* key hash [0-9a-f]{8}; add its key to /);
  assert.equal((await zl('prove', ledgerDir)).status, 2);
  assert.equal((await zl('check-proof', proof, ...keys)).status, 2);
});

test('[AUD-04] a ledger is proved to continue a checkpoint kept elsewhere', async (t) => {
  const { dir, ledgerDir, signer, zl } = await audited(t);
  const keys = ['--host-keys', join(dir, 'keys')];
  const kept = join(dir, 'kept');
  await cp(join(ledgerDir, 'checkpoint'), kept);
  const ledger = await openLedger({ dir: ledgerDir, signer, origin: 'zerolatency/test' });
  await ledger.append({ kind: 'host.stopped', body: { version: '1.2.3' } });
  await ledger.close();
  const proof = join(dir, 'since.tlog-proof');
  await writeFile(proof, (await zl('prove', ledgerDir, '--since', kept)).stdout);
  const { status, stdout } = await zl('check-proof', proof, '--since', kept, ...keys);
  assert.equal(status, 0, stdout);
  assert.match(stdout, /^Proved: it continues the checkpoint over 5; the checkpoint covers 6 /);
  const newest = join(ledgerDir, 'checkpoint');
  assert.equal((await zl('check-proof', proof, '--since', newest, ...keys)).status, 1);
});

test('[AUD-04] a ledger is held to what a device witnessed of it and of its host', async (t) => {
  const { dir, ledgerDir, signer, verify } = await audited(t);
  const witness = join(dir, 'witness');
  const verdict = async () => {
    const { status, stdout } = await verify('--witness', witness);
    return { status, stdout, last: stdout.trimEnd().split('\n').at(-1) ?? '' };
  };
  const missing = await verify('--witness', witness);
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /once witness\.hostKeysDir of its bridge is set/);
  await mkdir(witness);
  const nothing = await verdict();
  assert.equal(nothing.status, 4);
  assert.match(nothing.stdout, /not checked: \S+ holds no checkpoint of this ledger\nNot altered/);

  const note = await readFile(join(ledgerDir, 'checkpoint'), 'utf8');
  const own = claimedCheckpoint(note)!;
  const keep = async (name: string, checkpoint: Partial<typeof own>) => {
    const text = await signCheckpoint({ ...own, ...checkpoint }, signer);
    await writeFile(join(witness, name), text);
    return () => rm(join(witness, name));
  };
  await keep('a.checkpoint', {});
  const elsewhere = await keep('b.checkpoint', { origin: 'other/host', ledgerId: 'b'.repeat(32) });
  const valid = await verdict();
  assert.equal(valid.status, 0, valid.stdout);
  assert.match(valid.stdout, / witnessed: 5 records at \S+Z \(\S+a\.checkpoint\)\nValid: /);
  await elsewhere();

  const settled = await keep('a.refused', {});
  assert.match(
    (await verdict()).stdout,
    /too, so only its proof was wrong: remove \S+a\.refused\n/,
  );
  await settled();
  const forked = await keep('a.refused', { size: 3, root: Buffer.alloc(32, 3) });
  const altered = await verdict();
  assert.equal(altered.status, 1);
  assert.match(altered.last, /^Altered: record 2, .* differs from the checkpoint\./);
  await forked();

  await keep('c.checkpoint', { ledgerId: 'c'.repeat(32), size: 900 });
  const replaced = await verdict();
  assert.equal(replaced.status, 1);
  assert.match(replaced.stdout, /not here: ledger c{32} of the same host, witnessed with 900 rec/);
  assert.match(replaced.last, /^Replaced: the device witnessed another ledger of the same host\./);
  const { witness: found, isReplaced } = JSON.parse(
    (await verify('--json', '--witness', witness)).stdout,
  );
  assert.deepEqual([found.ofThis.length, found.others.length, isReplaced], [1, 1, true]);
});
