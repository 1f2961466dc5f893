import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { REVOCATION_LIST } from '@zerolatency/revocations';
import { openDocument, signerFromPem } from '@zerolatency/signing';
import { makeKey, tempDir } from '@zerolatency/testing';
import {
  lockRevocationFile,
  revocationFile,
} from '../src/adapters/revocation-file/revocation-file.ts';
import { RevocationAuthority } from '../src/registrar/revocation-authority.ts';
import { silentLog } from './parts.ts';

const LAPTOP = { tenant: 'north', deviceId: 'laptop' };
const NOON_MS = Date.parse('2026-01-01T12:00:00Z');

/** An authority over a real file, with a clock of the test. */
function fileWorld(t: TestContext, key = makeKey()) {
  const file = join(tempDir(t), 'revocations.dsse.json');
  const clock = { nowMs: NOON_MS };
  const open = (signedBy = key) =>
    RevocationAuthority.open({
      ...{ store: revocationFile(file), signer: signerFromPem(signedBy.privatePem) },
      ...{ publicPem: signedBy.publicPem, retentionMs: 86_400_000, log: silentLog },
      clock: { unixMs: () => clock.nowMs },
    });
  const listed = () => {
    const opened = openDocument(REVOCATION_LIST, readFileSync(file, 'utf8'), [key.publicPem]);
    assert.ok('content' in opened);
    return opened.content;
  };
  return { file, clock, open, listed };
}

test('[BRG-04] a second registrar of the machine does not open the list of the first one', async (t) => {
  const { file } = fileWorld(t);
  const lock = await lockRevocationFile(file);
  await assert.rejects(lockRevocationFile(file), {
    id: 'file.unusable',
    message: new RegExp(`the process ${process.pid} keeps the revocation list`),
  });
  lock.release();
  (await lockRevocationFile(file)).release();
});

test('[BRG-04] a registrar starts with no list that is damaged, of another key or too large', async (t) => {
  const { file, open } = fileWorld(t);
  await open();
  const good = readFileSync(file, 'utf8');
  const unsigned = JSON.stringify({ ...JSON.parse(good), signatures: [] });
  for (const bad of [good.slice(0, -40), unsigned, '', '{}', '\0'.repeat(1000)]) {
    writeFileSync(file, bad);
    await assert.rejects(open(), { id: 'file.unusable' }, bad.slice(0, 40));
  }
  writeFileSync(file, good);
  await assert.rejects(open(makeKey()), { id: 'file.unusable', message: /signature|key/ });
  // As a hole: reading it would show in memory.
  execFileSync('truncate', ['-s', '100G', file]);
  await assert.rejects(open(), { id: 'file.unusable', message: /is larger than/ });
  writeFileSync(file, good);
  await open();
  for (const bad of ['', 'soon', '-1', '1e99']) {
    writeFileSync(`${file}.issued`, bad);
    await assert.rejects(open(), { id: 'file.unusable', message: /is not a time/ });
  }
});

test('[BRG-04] a restart with a clock set back still revokes what was issued before it', async (t) => {
  const { clock, open } = fileWorld(t);
  const issuedAtMs = await (await open()).issueMs(LAPTOP);
  clock.nowMs -= 3_600_000;
  const restarted = await open();
  await restarted.revoke(LAPTOP, 'operator');
  assert.equal(restarted.fault({ ...LAPTOP, issuedAtMs })?.id, 'device.revoked');
  const nextMs = await restarted.issueMs(LAPTOP);
  assert.equal(restarted.fault({ ...LAPTOP, issuedAtMs: nextMs }), undefined);
});

test('[BRG-04] many credentials of one second cost one write of the time of issue', async (t) => {
  const { file, clock } = fileWorld(t);
  const store = revocationFile(file);
  let writes = 0;
  const key = makeKey();
  const authority = await RevocationAuthority.open({
    store: {
      ...store,
      saveLastIssuedMs: (unixMs) => {
        writes += 1;
        return store.saveLastIssuedMs(unixMs);
      },
    },
    ...{ signer: signerFromPem(key.privatePem), publicPem: key.publicPem },
    ...{ retentionMs: 1000, log: silentLog, clock: { unixMs: () => clock.nowMs } },
  });
  clock.nowMs += 1;
  const issue = () => Promise.all(Array.from({ length: 500 }, () => authority.issueMs(LAPTOP)));
  await issue();
  clock.nowMs += 900;
  await issue();
  assert.equal(writes, 1);
  clock.nowMs += 1000;
  await issue();
  assert.equal(writes, 2);
});

test('[BRG-04] the list says when a revoked device has enrolled again, until it is revoked again', async (t) => {
  const { open, listed } = fileWorld(t);
  const authority = await open();
  await authority.enrolledAgain(LAPTOP);
  assert.equal(listed().version, 1, 'it was never revoked');
  await authority.revoke(LAPTOP, 'operator');
  await Promise.all([authority.enrolledAgain(LAPTOP), authority.enrolledAgain(LAPTOP)]);
  const { version, devices } = listed();
  assert.deepEqual([version, devices.length], [3, 1]);
  assert.equal(devices[0]?.enrolledAt, new Date(NOON_MS).toISOString());
  await authority.revoke(LAPTOP, 'operator');
  assert.equal(listed().devices[0]?.enrolledAt, undefined);
});
