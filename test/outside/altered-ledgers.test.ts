import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyLedger } from '@zerolatency/ledger';
import { tempDir } from '@zerolatency/testing';
import { ALTERATIONS, device, honestDrafts, host, writeLedger } from './altered-ledgers.ts';

const keys = [host.verifier()];
const receiptKeys = { hostKeys: keys, deviceKeys: [device.verifier()] };

test('[AUD-01] the ledger that the alterations start from is valid', async (t) => {
  const dir = join(tempDir(t), 'ledger');
  await writeLedger(dir, honestDrafts());
  const report = await verifyLedger(dir, { keys, receiptKeys });
  assert.equal(report.verdict, 'valid', JSON.stringify(report.firstBad));
  assert.equal(report.decisions, 3);
});

test('[AUD-01] every alteration by someone who holds the host key is noticed, and its record named', async (t) => {
  const dir = join(tempDir(t), 'ledger');
  assert.ok(ALTERATIONS.length >= 60, `${ALTERATIONS.length} alterations`);
  const names = new Set(ALTERATIONS.map(({ name }) => name));
  assert.equal(names.size, ALTERATIONS.length);
  const missed: string[] = [];
  for (const { name, alter } of ALTERATIONS) {
    await writeLedger(dir, alter(honestDrafts()));
    const { verdict, firstBad } = await verifyLedger(dir, { keys, receiptKeys });
    if (verdict !== 'altered' || firstBad?.index === undefined) missed.push(name);
  }
  assert.deepEqual(missed, []);
});
