import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyLedger } from '@zerolatency/ledger';
import { digestOf } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import fc from 'fast-check';
import { request, rules } from '../../packages/policy/test/arbitrary-bundle.ts';
import { currentBundle } from '../../packages/policy/test/sample-bundle.ts';
import { device, honestDrafts, host, KEYS, writeLedger } from './altered-ledgers.ts';
import {
  needsPython,
  ourVerdict,
  type Verdict,
  verifyOutside,
  writeKeys,
} from './second-verifier.ts';

const LEDGERS = 200;
const SEED = 8;
/** Agreement on ledgers of only one verdict would say little. */
const MIN_OF_EACH = LEDGERS / 10;

const keys = [host.verifier()];
const receiptKeys = { hostKeys: keys, deviceKeys: [device.verifier()] };
const cap = fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined });

/** A decision that a host may have made, or may not. */
const decision = fc.record({
  // Only our own verifier reads ranges of versions.
  rules: rules.map((some) => some.map(({ versions: _, ...rule }) => rule)),
  request,
  revokes: fc.boolean(),
  state: fc.constantFrom('active', 'stale'),
  caps: fc.record({ timeoutMs: cap, maxBytes: cap, callsPerTurn: cap }),
  denies: fc.option(fc.nat(5), { nil: undefined }),
});

function ledgerOf(given: typeof decision extends fc.Arbitrary<infer T> ? T : never) {
  const { tenant, user, deviceId, tool } = given.request;
  const revokedDevices = given.revokes ? [{ tenant: 'north', device: 'laptop' }] : [];
  const bundle = currentBundle({
    schema: 'zerolatency.policy/v2',
    rules: given.rules,
    revokedDevices,
  });
  const policy = { policyId: 'default@1', policyDigest: digestOf(bundle) };
  const [opened, started, changed, intent] = honestDrafts();
  const { executor, toolVersion, caps: _, ...facts } = intent!.body;
  const call = { ...facts, tenant, user, deviceId, tool, ...policy };
  const rule = given.denies === undefined ? undefined : given.rules[given.denies];
  const caps = JSON.parse(JSON.stringify(given.caps));
  const decided =
    given.denies === undefined
      ? { kind: 'call.intent', body: { ...call, executor, toolVersion, caps } }
      : { kind: 'policy.denied', body: { ...call, ruleId: rule?.id ?? null, reason: 'denied' } };
  const policyChanged = { ...changed!, body: { ...changed!.body, ...policy, state: given.state } };
  return { bundle, drafts: [opened!, started!, policyChanged, decided] };
}

test(
  '[AUD-04] a second verifier agrees on what bundles can have decided',
  needsPython(),
  async (t) => {
    const dir = tempDir(t);
    const dirs: string[] = [];
    const ours: Verdict[] = [];
    for (const [i, given] of fc.sample(decision, { numRuns: LEDGERS, seed: SEED }).entries()) {
      const ledger = join(dir, 'ledgers', String(i));
      const { bundle, drafts } = ledgerOf(given);
      await writeLedger(ledger, drafts, bundle);
      dirs.push(ledger);
      ours.push(ourVerdict(await verifyLedger(ledger, { keys, receiptKeys })));
    }
    const pems = { host: KEYS.host.publicPem, device: KEYS.device.publicPem };
    assert.deepEqual(verifyOutside(dirs, writeKeys(join(dir, 'keys'), pems)), ours);
    for (const verdict of ['valid', 'altered']) {
      const count = ours.filter((one) => one.verdict === verdict).length;
      assert.ok(count >= MIN_OF_EACH, `${count} ${verdict}`);
    }
  },
);
