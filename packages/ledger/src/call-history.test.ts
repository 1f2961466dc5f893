import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bundle } from '@zerolatency/policy';
import { type Receipt, signReceipt } from '@zerolatency/receipts';
import { digestOf } from '@zerolatency/signing';
import { callId, keys, otherKey, signer } from '../test/ledger-fixture.ts';
import { CallHistory } from './call-history.ts';
import type { LedgerEntry, RecordBodies } from './record.ts';

const START = Date.UTC(2030, 0, 1);
const SALT = '5a'.repeat(16);
const WHO = { tenant: 'north', user: 'ann', turnId: 'turn-1', deviceId: 'laptop' };
const BUNDLE: Bundle = {
  schema: 'zerolatency.policy/v1',
  id: 'default',
  version: 1,
  issuedAt: '2029-12-31T00:00:00Z',
  expiresAt: '2030-01-02T00:00:00Z',
  rules: [
    { id: 'read', effect: 'allow', tools: ['fs.*'] },
    { id: 'no-write', effect: 'deny', tools: ['fs.write'] },
  ],
};
const POLICY = { policyId: 'default@1', policyDigest: digestOf(BUNDLE) };
const NEXT = { policyId: 'default@2', policyDigest: digestOf('not kept') };
const IN_FORCE: LedgerEntry = policy({ state: 'active', version: 1, ...POLICY });

function policy(body: RecordBodies['policy.changed']): LedgerEntry {
  return { kind: 'policy.changed', body };
}

const callOf = (number: number) => ({
  callId: callId(number),
  tool: 'fs.read',
  argumentsDigest: digestOf({ number }),
  ...WHO,
  ...POLICY,
});

function intent(number: number, changes: Partial<RecordBodies['call.intent']> = {}): LedgerEntry {
  const facts = { executor: 'device', argumentSalt: SALT, caps: { timeoutMs: 5_000 } } as const;
  return { kind: 'call.intent', body: { ...callOf(number), ...facts, ...changes } };
}

function denial(number: number, changes: Partial<RecordBodies['policy.denied']> = {}): LedgerEntry {
  const facts = { tool: 'fs.write', argumentSalt: SALT, ruleId: 'no-write', reason: 'no' };
  return { kind: 'policy.denied', body: { ...callOf(number), ...facts, ...changes } };
}

async function receipt(number: number, changes: Partial<Receipt> = {}): Promise<LedgerEntry> {
  const signed = await signReceipt(
    {
      ...{ role: 'host', executor: 'device', ...callOf(number), caps: { timeoutMs: 5_000 } },
      ...{ outcome: 'failed', errorId: 'tool.failed', startedAt: '2030-01-01T00:00:00Z' },
      ...{ elapsedUs: 10, ...changes },
    },
    signer,
  );
  const body = { callId: callId(number), argumentSalt: SALT, receipt: signed };
  return { kind: 'call.receipt', body };
}

function turn(calls: readonly number[], changes: Partial<RecordBodies['turn']> = {}): LedgerEntry {
  const { deviceId: _, ...who } = WHO;
  const spent = { steps: 1, inputTokens: 1, outputTokens: 1 };
  const times = { startedAt: '2030-01-01T00:00:00Z', endedAt: '2030-01-01T00:00:01Z' };
  const callIds = calls.map(callId);
  const body = { ...who, sessionId: 's', outcome: 'done', ...spent, ...times, callIds } as const;
  return { kind: 'turn', body: { ...body, ...changes } };
}

const MISSING = { state: 'missing' } as const;

/** Reads the records of a host that started with the bundle, which is kept. */
function reading(receiptKeys = { hostKeys: keys, deviceKeys: keys }) {
  const history = new CallHistory(receiptKeys);
  const read = (entry: LedgerEntry, { atMs = 0, v = 2 }: { atMs?: number; v?: 1 | 2 } = {}) => {
    const at = new Date(START + atMs).toISOString();
    const isKept = 'policyDigest' in entry.body && entry.body.policyDigest === POLICY.policyDigest;
    const bundle = isKept ? ({ state: 'kept', content: BUNDLE } as const) : MISSING;
    return history.faultIn({ v, index: 0, at, prev: '', synced: 0, ...entry }, bundle);
  };
  assert.equal(read({ kind: 'host.started', body: { version: '1' } }), undefined);
  assert.equal(read(IN_FORCE), undefined);
  return { history, read };
}

test('[AUD-01] a receipt may follow the record of its turn, which names the call', async () => {
  const { read } = reading();
  assert.equal(read(intent(1)), undefined);
  assert.equal(read(intent(2)), undefined);
  assert.equal(read(turn([1])), undefined, 'the receipts of both calls are still to come');
  assert.equal(read(await receipt(1)), undefined);
  assert.equal(read(await receipt(1)), `is a second receipt of ${callId(1)}`);
  const unnamed = 'is of turn turn-1, whose record does not name the call';
  assert.equal(read(await receipt(2)), unnamed);
  assert.equal(read(intent(3)), undefined);
  assert.equal(read(await receipt(3)), unnamed, 'and the call began after the turn');
});

test('[AUD-01] calls outside of a turn, or of a turn that goes on, have one receipt each', async () => {
  const { read } = reading();
  for (const turnId of [undefined, 'turn-9']) {
    const number = turnId === undefined ? 1 : 2;
    assert.equal(read(intent(number, { turnId })), undefined);
    assert.equal(read(await receipt(number, { turnId })), undefined);
    assert.match(read(await receipt(number, { turnId })) ?? '', /second receipt/);
    assert.match(read(intent(number, { turnId })) ?? '', /is not the first record of call/);
    assert.match(read(denial(number, { turnId })) ?? '', /is not the first record of call/);
  }
});

test('[AUD-01] an open call is intended again for another journal, with nothing else changed', async () => {
  const target = (journal: string) => ({
    ...{ journalId: journal.repeat(32), requestDigest: digestOf(journal) },
    deadlineUnixMs: 1_900_000_000_000,
  });
  const again = /is not the first record of call/;
  const { read } = reading();
  assert.equal(read(intent(1, target('a'))), undefined);
  assert.match(read(intent(1, target('a'))) ?? '', again, 'the same journal');
  assert.match(read(intent(1)) ?? '', again, 'no journal');
  assert.match(read(intent(1, { ...target('b'), tool: 'fs.list' })) ?? '', again);
  assert.match(read(denial(1)) ?? '', again);
  assert.equal(read(intent(1, target('b'))), undefined);
  assert.equal(read(await receipt(1)), undefined);
  assert.match(read(intent(1, target('c'))) ?? '', again, 'the call has ended');
});

test('[AUD-01] a turn names each of its calls once, and only those', async () => {
  const faults: [fault: RegExp | undefined, calls: number[], changes?: object][] = [
    [undefined, [1, 2]],
    [/names call 0+1, which is named before/, [1, 2, 1]],
    [/names call 0+7, of which there is no record/, [1, 2, 7]],
    [/does not name its call 0+1/, [2]],
    [undefined, [1], {}],
    [/names call 0+1 of another turn or user/, [1, 2], { turnId: 'turn-2' }],
    [/names call 0+1 of another turn or user/, [1, 2], { user: 'bob' }],
    [/names call 0+1 of another turn or user/, [1, 2], { tenant: 'south' }],
  ];
  for (const [fault, calls, changes] of faults) {
    const { read } = reading();
    for (const entry of [intent(1), await receipt(1), intent(2)])
      assert.equal(read(entry), undefined);
    const found = read(turn(calls, changes));
    if (fault === undefined) assert.equal(found, undefined);
    else assert.match(found ?? '', fault);
    assert.match(read(turn([], changes)) ?? '', /is a second record of turn/);
  }
});

test('a host of release 0.1.0 may name a call that it could not record', () => {
  for (const [v, fault] of [
    [1, undefined],
    [2, `names call ${callId(7)}, of which there is no record`],
  ] as const) {
    const { read } = reading();
    assert.equal(read(turn([7]), { v }), fault);
  }
});

test("[AUD-01] a receipt is of its record's call, and follows from what came before it", async () => {
  const { read } = reading();
  assert.equal(read(intent(1)), undefined);
  const other = await receipt(2);
  const body = { ...(other.body as RecordBodies['call.receipt']), callId: callId(1) };
  assert.equal(read({ kind: 'call.receipt', body }), 'holds the receipt of another call');
  assert.match(read(await receipt(1, { caps: {} })) ?? '', /differs from its intent in caps/);
  assert.match(read(await receipt(1, { tool: 'fs.list' })) ?? '', /from its intent in tool/);
  assert.equal(read(denial(2)), undefined);
  const denied = { tool: 'fs.write', outcome: 'denied', errorId: 'policy.denied' } as const;
  assert.match(
    read(await receipt(2, { tool: 'fs.write' })) ?? '',
    /says failed of a call that was/,
  );
  assert.match(read(await receipt(2, { ...denied, user: 'bob' })) ?? '', /its denial in user/);
  assert.equal(read(await receipt(2, denied)), undefined);
});

test('[AUD-01] a call without an intent was neither run nor denied, and names a policy of its time', async () => {
  const { read } = reading();
  const result = { errorId: undefined, resultDigest: digestOf('result') };
  const done = { outcome: 'done', executor: 'host', ...result } as const;
  assert.match(read(await receipt(1, done)) ?? '', /says done of a call that has no intent/);
  const unknown = { outcome: 'unknown', errorId: 'call.unknown_outcome' } as const;
  assert.match(read(await receipt(2, unknown)) ?? '', /says unknown of a call that has no/);
  const builtIn = { ...unknown, executor: 'host' } as const;
  assert.equal(read(await receipt(3, builtIn)), undefined);
  assert.equal(read(await receipt(4)), undefined);
  const stranger = await receipt(5, NEXT);
  assert.equal(read(stranger), 'names policy default@2, which was not in force');
});

test('[AUD-01] a policy counts until it was replaced for the time that a call may take', async () => {
  const replacedMs = 60_000;
  const timeLimitMs = 5_000 + 2_000;
  const { read } = reading();
  assert.equal(read(intent(9)), undefined);
  assert.equal(
    read(policy({ state: 'active', version: 2, ...NEXT }), { atMs: replacedMs }),
    undefined,
  );
  const lastMs = replacedMs + timeLimitMs;
  const refused = 'names policy default@1, which was not in force';
  assert.equal(read(intent(1), { atMs: lastMs }), undefined);
  assert.equal(read(intent(2), { atMs: lastMs + 1 }), refused);
  assert.equal(read(await receipt(3), { atMs: lastMs }), undefined);
  assert.equal(read(await receipt(4), { atMs: lastMs + 1 }), refused);
  const slow = { elapsedUs: 9_000_000 };
  assert.equal(read(await receipt(5, slow), { atMs: replacedMs + 11_000 }), undefined);
  assert.equal(read(await receipt(6, slow), { atMs: replacedMs + 11_001 }), refused);
  assert.equal(read(await receipt(7, { caps: {} }), { atMs: lastMs * 2 }), undefined);
  assert.equal(read(denial(8), { atMs: replacedMs }), refused, 'a denial is recorded at once');
  assert.equal(read(await receipt(9), { atMs: lastMs * 2 }), undefined, 'it was allowed before');
});

test('[AUD-01] a host that starts again has no policy until it records one', async () => {
  const { read } = reading();
  assert.equal(read({ kind: 'host.started', body: { version: '1' } }), undefined);
  const refused = 'names policy default@1, which was not in force';
  for (const entry of [intent(1), denial(2), await receipt(3)]) assert.equal(read(entry), refused);
  assert.equal(read(policy({ state: 'none' })), undefined);
  const none = { policyId: undefined, policyDigest: undefined };
  assert.equal(read(denial(4, { ...none, ruleId: null })), undefined);
});

test('[AUD-01] decisions are made again with the bundle that was kept', () => {
  const { history, read } = reading();
  assert.equal(read(intent(1)), undefined);
  assert.equal(read(denial(2)), undefined);
  assert.equal(history.decisions, 2);
  assert.match(
    read(intent(3, { tool: 'fs.write' })) ?? '',
    /not allowed by default@1: its rule no-w/,
  );
  assert.match(read(intent(4, { tool: 'web.get' })) ?? '', /no rule of it allows that/);
  assert.match(read(denial(5, { ruleId: 'read' })) ?? '', /its rule read denies nothing/);
  assert.match(read(denial(6, { tool: 'fs.read' })) ?? '', /is not about that call/);
  assert.equal(history.decisions, 6);
  assert.equal(read(denial(7, { ruleId: null })), undefined, 'no rule denied it');
  assert.equal(history.decisions, 6);
});

test('[AUD-01] a policy that had expired allows nothing, and a stale one what its rules say', () => {
  const { read } = reading();
  for (const [state, why] of [
    ['expired', 'it had expired'],
    ['stale', 'no rule of it allows that'],
  ] as const) {
    assert.equal(read({ kind: 'host.started', body: { version: '1' } }), undefined);
    assert.equal(read(policy({ state, version: 1, ...POLICY })), undefined);
    assert.equal(read(intent(state === 'stale' ? 1 : 2)), `was not allowed by default@1: ${why}`);
  }
});

test('[AUD-01] a bundle that is not kept leaves its decisions unchecked, and says so from version 2 on', () => {
  const { history, read } = reading();
  const changed = (digest: ReturnType<typeof digestOf>) =>
    policy({ state: 'active', version: 2, policyId: 'default@2', policyDigest: digest });
  assert.equal(read(changed(digestOf('old')), { v: 1 }), undefined);
  assert.equal(read(changed(NEXT.policyDigest)), undefined);
  assert.equal(read(intent(1, { ...NEXT, tool: 'web.get' })), undefined);
  assert.equal(read(denial(2, { ...NEXT, ruleId: 'none-such' })), undefined);
  assert.equal(history.decisions, 0);
  assert.deepEqual(history.unchecked.bundles, [NEXT.policyDigest]);
});

test('[AUD-01] a change of policy names the bundle that it stands for', () => {
  const { read } = reading();
  const wrongly = 'names a bundle, or none, wrongly';
  assert.equal(read(policy({ state: 'none', ...POLICY })), wrongly);
  assert.equal(read(policy({ state: 'active', version: 1, policyId: 'default@1' })), wrongly);
  const named = /names bundle default@\d, and its digest default@1/;
  for (const other of [{ policyId: 'default@2' }, { version: 2 }]) {
    assert.match(read(policy({ state: 'active', version: 1, ...POLICY, ...other })) ?? '', named);
  }
});

test('[AUD-01] a signature without its key, and a receipt of a later version, are left unchecked', async () => {
  const { history, read } = reading({ hostKeys: [otherKey.verifier()], deviceKeys: [] });
  assert.equal(read(intent(1)), undefined);
  assert.equal(read(await receipt(1)), undefined);
  assert.match(read(await receipt(2, { outcome: 'denied' })) ?? '', /nothing denied the call/);
  const { keyid } = signer.verifier();
  assert.deepEqual(history.unchecked.missingKeys, [{ role: 'host', keyid, deviceId: 'laptop' }]);
  const later = await receipt(3);
  const body = later.body as RecordBodies['call.receipt'];
  const envelope = {
    ...body.receipt,
    payloadType: 'application/vnd.zerolatency.receipt.v2+json',
  };
  const newer = { ...body, receipt: envelope } as RecordBodies['call.receipt'];
  assert.equal(read({ kind: 'call.receipt', body: newer }), undefined);
  assert.equal(history.unchecked.newer.length, 1);
});
