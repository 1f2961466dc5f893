import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type LedgerRecord, openLedger, readLedger } from '@zerolatency/ledger';
import { type Bundle, BundleHolder, POLICY_BUNDLE } from '@zerolatency/policy';
import { generateKeyPair, memoryFloor, signDocument, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { recordPolicy } from './records.ts';

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2030, 0, 1);

async function world(t: TestContext) {
  const dir = tempDir(t);
  const key = generateKeyPair();
  const signer = signerFromPem(key.privatePem);
  const ledger = await openLedger({ dir, signer, origin: 'test/host', fsync: false });
  t.after(() => ledger.close());
  const logged: object[] = [];
  const onChange = recordPolicy(ledger, { error: (fields) => logged.push(fields) });
  const holder = new BundleHolder({ keys: [key.publicPem], floor: memoryFloor() });
  holder.onChange(onChange);
  const offer = async (version: number) => {
    const offered = await holder.offer(
      await signDocument(POLICY_BUNDLE, bundleOf(version), [signer]),
      NOW,
    );
    if (!('installed' in offered)) throw new Error('the bundle was not installed');
    return offered.installed.digest;
  };
  const records = async () => {
    await ledger.close();
    const found: LedgerRecord[] = [];
    for await (const { record } of readLedger(dir)) found.push(record);
    return found.slice(1);
  };
  return { ledger, holder, logged, offer, records };
}

function bundleOf(version: number): Bundle {
  return {
    schema: 'zerolatency.policy/v1',
    id: 'test',
    version,
    issuedAt: new Date(NOW).toISOString(),
    expiresAt: new Date(NOW + HOUR_MS).toISOString(),
    graceMs: HOUR_MS,
    rules: [{ id: 'none', effect: 'deny', tools: ['*'] }],
  };
}

test('[POL-06] [AUD-01] every bundle and each of its states is recorded with id, digest and version', async (t) => {
  const { holder, offer, records } = await world(t);
  holder.note(NOW);
  const first = await offer(1);
  const second = await offer(2);
  holder.note(NOW + HOUR_MS);
  holder.note(NOW + HOUR_MS);
  holder.note(NOW + 2 * HOUR_MS);
  await holder.offer('', NOW + 2 * HOUR_MS, []);
  const found = await records();
  assert.ok(found.every(({ kind }) => kind === 'policy.changed'));
  const newest = { policyId: 'test@2', policyDigest: second, version: 2 };
  assert.deepEqual(
    found.map(({ body }) => body),
    [
      { state: 'none' },
      { state: 'active', policyId: 'test@1', policyDigest: first, version: 1 },
      { state: 'active', ...newest },
      { state: 'stale', ...newest },
      { state: 'expired', ...newest },
      { state: 'none' },
    ],
  );
});

test('[POL-06] a state that a decision notices first is recorded before the consequences of the decision', async (t) => {
  const { holder, ledger, offer, records } = await world(t);
  await offer(1);
  const who = { tenant: 'north', user: 'user-1' };
  const { effect } = holder.decide({
    ...{ ...who, roles: [], deviceId: 'laptop', tool: 'fs.read', version: '1.0.0' },
    ...{ arguments: {}, callsThisTurn: 0, nowMs: NOW + HOUR_MS },
  });
  assert.equal(effect, 'deny');
  const callId = 'a'.repeat(32);
  const body = { ...who, callId, tool: 'fs.read', ruleId: 'none', reason: 'denied' };
  await ledger.append({ kind: 'policy.denied', body });
  assert.deepEqual(
    (await records()).map(({ kind, body }) => ('state' in body ? body.state : kind)),
    ['active', 'stale', 'policy.denied'],
  );
});

test('a ledger that takes no record stops no decision, and the missing record is logged', async (t) => {
  const { holder, ledger, logged } = await world(t);
  await ledger.close();
  assert.equal(holder.note(NOW).state, 'none');
  holder.note(NOW);
  assert.equal(logged.length, 1);
});
