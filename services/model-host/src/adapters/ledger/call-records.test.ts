import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openLedger, readLedger } from '@zerolatency/ledger';
import { argumentsDigest } from '@zerolatency/receipts';
import { canonicalJson, generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { readTool } from '../../../test/relay/offered-tools.ts';
import { assertEnds, started } from '../../../test/relay/started.ts';
import { createCallLedger } from './records.ts';

test('[AUD-01] [TOOL-04] two calls with the same arguments have different digests, and their salts open them', async (t) => {
  const { run, verify, ledger, ledgerDir } = await started(t, { tools: [readTool('x')] });
  const args = { path: '/a' };
  const digests = new Map<string, string>();
  for (let i = 0; i < 2; i++) {
    const result = await run('fs.read', args);
    assertEnds(result, 'done');
    const { value } = verify(result.receiptJson);
    assert.ok(value);
    assert.equal(value.receipt.executor, 'device');
    assert.equal(value.device?.argumentsDigest, value.receipt.argumentsDigest);
    digests.set(value.receipt.callId, value.receipt.argumentsDigest);
    assert.doesNotMatch(result.receiptJson, /argumentSalt/);
  }
  await ledger.close();
  assert.equal(new Set(digests.values()).size, 2);
  const salts = new Map<string, Set<string>>();
  for await (const { record } of readLedger(ledgerDir)) {
    if (record.kind !== 'call.intent' && record.kind !== 'call.receipt') continue;
    const { callId, argumentSalt } = record.body;
    salts.set(callId, (salts.get(callId) ?? new Set()).add(argumentSalt));
  }
  const bytes = canonicalJson(args);
  for (const [callId, digest] of digests) {
    const [salt, ...others] = salts.get(callId) ?? [];
    assert.deepEqual(others, []);
    assert.equal(argumentsDigest(Buffer.from(salt!, 'hex'), bytes), digest);
    const [other] = [...salts.values()].flatMap((set) => [...set]).filter((one) => one !== salt);
    assert.notEqual(argumentsDigest(Buffer.from(other!, 'hex'), bytes), digest);
  }
});

test('a denied call has a salted digest in its denial', async (t) => {
  const { run, ledger, ledgerDir } = await started(t, {
    tools: [readTool('x')],
    rules: [{ id: 'none', effect: 'deny', tools: ['*'] }],
  });
  assertEnds(await run('fs.read', { path: '/a' }), 'denied', 'policy.denied');
  await ledger.close();
  for await (const { record } of readLedger(ledgerDir)) {
    if (record.kind !== 'policy.denied') continue;
    const { argumentSalt = '', argumentsDigest: digest } = record.body;
    const bytes = canonicalJson({ path: '/a' });
    assert.equal(argumentsDigest(Buffer.from(argumentSalt, 'hex'), bytes), digest);
    return;
  }
  assert.fail('the denial was not recorded');
});

test('a turn names no call of which the ledger kept nothing, and nobody remembers that call', async (t) => {
  const dir = join(tempDir(t), 'ledger');
  const signer = signerFromPem(generateKeyPair().privatePem);
  const ledger = await openLedger({ dir, signer, origin: 'test/host' });
  t.after(() => ledger.close().catch(() => {}));
  const calls = createCallLedger(ledger);
  renameSync(dir, `${dir}.away`);
  const [lost, kept] = ['a'.repeat(32), 'b'.repeat(32)] as const;
  const envelope = { payload: '', payloadType: '', signatures: [] };
  const facts = { callId: lost, argumentSalt: Buffer.alloc(16) };
  await assert.rejects(async () => calls.conclude(facts, envelope), {
    id: 'ledger.failed',
  });
  assert.deepEqual(calls.keptOf([lost, kept]), [kept]);
  assert.deepEqual(calls.keptOf([lost, kept]), [lost, kept], 'the turn was told once');
});
