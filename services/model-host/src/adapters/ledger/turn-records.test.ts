import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLedger, readLedger, verifyLedger } from '@zerolatency/ledger';
import { generateKeyPair, signerFromPem, verifierFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { createRecorder } from './records.ts';

test('[AUD-01] a turn is one record, identified by its leaf in the tree', async (t) => {
  const dir = tempDir(t);
  const key = generateKeyPair();
  const signer = signerFromPem(key.privatePem);
  const ledger = await openLedger({ dir, signer, origin: 'test/host', fsync: false });
  const record = {
    scope: {
      identity: { tenant: 'north', user: 'user-1', roles: [] },
      sessionId: 'session-1',
      turnId: 'turn-1',
      deviceId: '',
    },
    parentCallId: 'b'.repeat(32),
    outcome: 'failed',
    errorId: 'budget.steps',
    steps: 2,
    inputTokens: 10,
    outputTokens: 20,
    costNanoUsd: 42_000,
    callIds: ['a'.repeat(32)],
    startedAtMs: 1_000,
    endedAtMs: 2_000,
    // Spent as well, and in no version of the record.
    cachedInputTokens: 5,
  } as const;
  const auditId = await createRecorder(ledger).recordTurn(record);
  await ledger.close();
  const turns = [];
  for await (const { record } of readLedger(dir))
    if (record.kind === 'turn') turns.push(record.body);
  assert.equal(turns.length, 1);
  assert.equal(turns[0]?.errorId, 'budget.steps');
  assert.equal(turns[0]?.startedAt, '1970-01-01T00:00:01.000Z');
  assert.equal(turns[0]?.costNanoUsd, 42_000);
  assert.equal(turns[0]?.parentCallId, 'b'.repeat(32));
  assert.equal('deviceId' in turns[0]!, false);
  assert.match(auditId, /^[0-9a-f]{64}$/);
  const report = await verifyLedger(dir, { keys: [verifierFromPem(key.publicPem)] });
  assert.equal(report.ok, true);
});
