import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileSchema } from '@zerolatency/contracts';
import { digestOf } from '@zerolatency/signing';
import { callId, intent, receipt, useLedgerDirectory } from '../test/ledger-fixture.ts';
import { peekReceipt, readLedger } from './read.ts';
import type { LedgerEntry } from './record.ts';

const scratch = useLedgerDirectory();
const contracts = join(import.meta.dirname, '../../../contracts/audit');
const load = (file: string) =>
  compileSchema(JSON.parse(readFileSync(join(contracts, file), 'utf8')), 'built-in');

const digest = digestOf({});
const OTHER_LEDGER = '5e'.repeat(16);
const WHO = { tenant: 't', user: 'u', deviceId: 'd' };
const policy = { policyId: 'p', policyDigest: digest };
const entries: readonly LedgerEntry[] = [
  { kind: 'host.started', body: { version: '0.1.0', configDigest: digest } },
  { kind: 'policy.changed', body: { state: 'active', version: 3, ...policy } },
  intent(1),
  {
    kind: 'call.intent',
    body: {
      callId: callId(2),
      executor: 'device',
      tool: 'fs.read',
      argumentsDigest: digest,
      argumentSalt: '5a'.repeat(16),
      ...WHO,
      ...policy,
      sessionId: 's',
      turnId: 't',
      toolVersion: '1.2.3',
      caps: { timeoutMs: 1_000, maxBytes: 2_000, callsPerTurn: 3 },
      journalId: 'j',
      deadlineUnixMs: 1_800_000_000_000,
    },
  },
  await receipt(1),
  {
    kind: 'policy.denied',
    body: {
      callId: callId(3),
      tool: 'fs.write',
      ...WHO,
      ruleId: null,
      reason: 'no rule allows it',
    },
  },
  {
    kind: 'policy.withheld',
    body: {
      turnId: 't',
      ...WHO,
      ...policy,
      count: 2,
      tools: [
        { tool: 'fs.write', ruleId: 'no-writing' },
        { tool: 'web.get', ruleId: null },
      ],
    },
  },
  {
    kind: 'turn',
    body: {
      turnId: 't',
      sessionId: 's',
      ...WHO,
      outcome: 'failed',
      errorId: 'provider.failed',
      steps: 1,
      inputTokens: 2,
      outputTokens: 3,
      costNanoUsd: 4,
      callIds: [callId(1)],
      startedAt: '2026-01-02T03:04:05.678Z',
      endedAt: '2026-01-02T03:04:06.678Z',
    },
  },
  { kind: 'host.stopped', body: { version: '0.1.0', reason: 'SIGTERM' } },
];

test('every kind of record follows its contract as written, and every contract is used', async () => {
  const ledger = await scratch.open({ maxSegmentBytes: 2_000, checkpointEveryMs: 1_000_000 });
  for (const entry of entries) await ledger.append(entry);
  const dir = scratch.crashed(scratch.dir);
  await (await scratch.open({ dir })).end(OTHER_LEDGER);
  const record = load('record.schema.json');
  const kinds = new Set<string>();
  for await (const row of readLedger(dir)) {
    assert.equal(record.validate(row.record).error, undefined);
    const { kind, body } = row.record;
    assert.equal(load(`records/${kind}.schema.json`).validate(body).error, undefined, kind);
    kinds.add(kind);
  }
  const contracted = readdirSync(join(contracts, 'records')).map((name) =>
    name.replace('.schema.json', ''),
  );
  assert.deepEqual([...kinds].sort(), contracted.sort());
});

test('the cost of a turn belongs to version 2', () => {
  const record = {
    v: 2,
    index: 0,
    at: '2026-01-02T03:04:05.678Z',
    kind: 'turn',
    prev: '0'.repeat(64),
    synced: 0,
  };
  const contract = load('record.schema.json');
  assert.equal(contract.validate({ ...record, body: { costNanoUsd: 1 } }).error, undefined);
  assert.equal(contract.validate({ ...record, v: 1, body: {} }).error, undefined);
  assert.match(
    contract.validate({ ...record, v: 1, body: { costNanoUsd: 1 } }).error?.message ?? '',
    /body/,
  );
});

test('a real receipt follows the contract of receipts', async () => {
  const { body } = await receipt(1);
  assert.ok('receipt' in body);
  const payload = peekReceipt(body.receipt);
  assert.equal(load('receipt.schema.json').validate(payload).error, undefined);
  assert.equal(
    load('receipt.schema.json').validate({ ...payload, extra: 1 }).error?.field,
    '/extra',
  );
  assert.equal(peekReceipt({ ...body.receipt, payloadType: 'other' }), undefined);
});
