import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordLeafHash } from '@zerolatency/ledger';
import { digestOf, generateKeyPair, type Signer, signerFromPem } from '@zerolatency/signing';
import { signCheckpoint } from '../../packages/ledger/src/checkpoint.ts';
import { segmentAt } from '../../packages/ledger/src/segments.ts';
import { MerkleFrontier } from '../../packages/ledger/src/tree.ts';
import { currentBundle } from '../../packages/policy/test/sample-bundle.ts';
import { type Receipt, signReceipt } from '../../packages/receipts/src/index.ts';
import { canonicalJson, canonicalText, withoutUnset } from '../../packages/signing/src/index.ts';

/** A record before it has its place in the chain; a receipt before it is signed. */
export interface Draft {
  kind: string;
  body: Record<string, unknown>;
  receipt?: Record<string, unknown>;
  device?: Record<string, unknown>;
  v?: number;
  synced?: number;
}

/**
 * What someone does who holds the host's key: every hash and signature fits, and the
 * records contradict each other.
 */
export interface Alteration {
  readonly name: string;
  readonly alter: (drafts: Draft[]) => Draft[];
}

export const KEYS = { host: generateKeyPair(), device: generateKeyPair() };
export const host = signerFromPem(KEYS.host.privatePem);
export const device = signerFromPem(KEYS.device.privatePem);
const BUNDLE = currentBundle({
  rules: [
    { id: 'read', effect: 'allow', tools: ['fs.*'], caps: { timeoutMs: 5_000 } },
    { id: 'no-write', effect: 'deny', tools: ['fs.write'] },
  ],
});
const DIGEST = digestOf(BUNDLE);
const bundleFile = (bundle: object) => `bundles/${digestOf(bundle).slice('sha256:'.length)}.json`;
export const BUNDLE_FILE = bundleFile(BUNDLE);
const POLICY = { policyId: `${BUNDLE.id}@${BUNDLE.version}`, policyDigest: DIGEST };
const SALT = '5a'.repeat(16);
const LEDGER_ID = '0123456789abcdef'.repeat(2);
const WHO = { tenant: 'north', user: 'ann', deviceId: 'laptop', turnId: 'turn-1' };
const OTHER_DIGEST = digestOf('other');
const ids = ['1', '2', '3'].map((digit) => digit.repeat(32));

function callOf(callId: string, tool: string) {
  return { callId, tool, argumentsDigest: digestOf(callId), ...WHO, ...POLICY };
}

/** One turn: a call that a device ran, one that was denied, and one that failed before it was sent. */
export function honestDrafts(): Draft[] {
  const [ran = '', denied = '', failed = ''] = ids;
  const caps = { timeoutMs: 5_000, maxBytes: 1_000, callsPerTurn: 3 };
  const facts = { executor: 'device', toolVersion: '1.0.0', caps };
  const times = { elapsedUs: 10, startedAt: '2026-01-02T03:04:05.000Z' };
  const shared = { ...callOf(ran, 'fs.read'), ...facts, ...times, outcome: 'done' };
  const resultDigest = digestOf('result');
  const receiptOf = (callId: string) => ({ callId, argumentSalt: SALT });
  const hosts = { role: 'host', ...facts, ...times };
  const turn = { steps: 2, inputTokens: 1, outputTokens: 1, sessionId: 's', outcome: 'done' };
  const spent = { startedAt: times.startedAt, endedAt: '2026-01-02T03:04:06.000Z' };
  return [
    { kind: 'ledger.opened', body: { ledgerId: LEDGER_ID } },
    { kind: 'host.started', body: { version: '0.1.0' } },
    { kind: 'policy.changed', body: { state: 'active', version: BUNDLE.version, ...POLICY } },
    { kind: 'call.intent', body: { ...callOf(ran, 'fs.read'), ...facts, argumentSalt: SALT } },
    {
      kind: 'call.receipt',
      body: receiptOf(ran),
      receipt: { ...shared, role: 'host', resultDigest },
      device: { ...shared, role: 'device', resultDigest },
    },
    {
      kind: 'policy.denied',
      body: {
        ...callOf(denied, 'fs.write'),
        ...{ argumentSalt: SALT, ruleId: 'no-write', reason: 'rule no-write denies it' },
      },
    },
    {
      kind: 'call.receipt',
      body: receiptOf(denied),
      receipt: {
        ...callOf(denied, 'fs.write'),
        ...hosts,
        outcome: 'denied',
        errorId: 'policy.denied',
      },
    },
    {
      kind: 'call.receipt',
      body: receiptOf(failed),
      receipt: {
        ...{ ...callOf(failed, 'fs.read'), ...hosts },
        ...{ outcome: 'failed', errorId: 'tool.arguments_invalid' },
      },
    },
    {
      kind: 'policy.withheld',
      body: { ...WHO, ...POLICY, count: 1, tools: [{ tool: 'fs.write', ruleId: 'no-write' }] },
    },
    { kind: 'turn', body: { ...WHO, ...turn, ...spent, callIds: [...ids] } },
    { kind: 'host.stopped', body: { version: '0.1.0' } },
  ];
}

/** Chains and signs the drafts in a folder, with the bundle beside them. */
export async function writeLedger(
  dir: string,
  drafts: readonly Draft[],
  bundle: object = BUNDLE,
): Promise<void> {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(join(dir, 'bundles'), { recursive: true });
  writeFileSync(join(dir, bundleFile(bundle)), canonicalJson(bundle));
  const tree = new MerkleFrontier();
  let prev = '0'.repeat(64);
  for (const [index, draft] of drafts.entries()) {
    const { v = 2, synced = index, kind } = draft;
    const body = withoutUnset({ ...draft.body, ...(await signed(draft)) });
    const at = new Date(Date.now() + index).toISOString();
    // Some drafts are no records, which is what a verifier has to notice.
    const line = canonicalText({ v, index, at, prev, synced, kind, body });
    const leaf = recordLeafHash(line);
    appendFileSync(segmentAt(dir, 0).path, `${line}\n`);
    tree.push(leaf);
    prev = Buffer.from(leaf).toString('hex');
  }
  const checkpoint = { origin: 'outside', ledgerId: LEDGER_ID, size: tree.size, root: tree.root() };
  writeFileSync(join(dir, 'checkpoint'), await signCheckpoint(checkpoint, host));
}

async function signed({ receipt, device: own }: Draft): Promise<{ receipt?: unknown }> {
  if (receipt === undefined) return {};
  const sign = (value: object, by: Signer) => signReceipt(value as Receipt, by);
  const inner = own && { device: await sign(own, device) };
  return { receipt: await sign({ ...receipt, ...inner }, host) };
}

const INTENT = 3;
const RAN = 4;
const DENIED = 5;
const DENIED_RECEIPT = 6;
const FAILED = 7;
const WITHHELD = 8;
const TURN = 9;

function change(
  index: number,
  part: 'body' | 'receipt' | 'device' | 'both receipts',
  fields: Record<string, unknown>,
): Alteration['alter'] {
  return (drafts) => {
    const draft = drafts[index];
    if (draft === undefined) return drafts;
    const parts = part === 'both receipts' ? (['receipt', 'device'] as const) : [part];
    for (const one of parts) draft[one] = { ...draft[one], ...fields };
    return drafts;
  };
}

/** Values that are well formed and belong to another call. */
const OTHERS: Readonly<Record<string, unknown>> = {
  tool: 'fs.list',
  argumentsDigest: OTHER_DIGEST,
  tenant: 'south',
  user: 'bob',
  deviceId: 'phone',
  turnId: 'turn-2',
  policyId: 'default@2',
  policyDigest: OTHER_DIGEST,
};
const OF_INTENT = {
  ...OTHERS,
  executor: 'host',
  toolVersion: '2.0.0',
  caps: { timeoutMs: 4_000 },
  argumentSalt: 'a5'.repeat(16),
};

function eachField(
  what: string,
  index: number,
  part: Parameters<typeof change>[1],
  fields: Readonly<Record<string, unknown>>,
): Alteration[] {
  return Object.entries(fields).map(([field, value]) => ({
    name: `${what} has another ${field}`,
    alter: change(index, part, { [field]: value }),
  }));
}

const without =
  (index: number): Alteration['alter'] =>
  (drafts) =>
    drafts.toSpliced(index, 1);
const twice =
  (index: number): Alteration['alter'] =>
  (drafts) =>
    drafts.toSpliced(index + 1, 0, drafts[index]!);
const swapped =
  (a: number, b: number): Alteration['alter'] =>
  (drafts) =>
    drafts.with(a, drafts[b]!).with(b, drafts[a]!);

const NO_POLICY = { policyId: undefined, policyDigest: undefined };
const { callId: _, ...RECEIPT_OTHERS } = { callId: '', ...OTHERS };

export const ALTERATIONS: readonly Alteration[] = [
  ...eachField('the intent', INTENT, 'body', OF_INTENT),
  ...eachField('the receipt alone', RAN, 'receipt', {
    ...RECEIPT_OTHERS,
    resultDigest: OTHER_DIGEST,
  }),
  ...eachField("the device's receipt alone", RAN, 'device', {
    ...{ tool: 'fs.list', argumentsDigest: OTHER_DIGEST, tenant: 'south', user: 'bob' },
    ...{ deviceId: 'phone', resultDigest: OTHER_DIGEST, callId: ids[1] },
  }),
  ...eachField('both receipts of the call', RAN, 'both receipts', RECEIPT_OTHERS),
  ...eachField('the record of the receipt', RAN, 'body', {
    callId: 'f'.repeat(32),
    argumentSalt: 'a5'.repeat(16),
  }),
  ...eachField('the denial', DENIED, 'body', {
    ...{ ...OTHERS, argumentSalt: 'a5'.repeat(16) },
    ...{ ruleId: 'none-such', callId: 'f'.repeat(32) },
  }),
  ...eachField('the receipt of the denied call', DENIED_RECEIPT, 'receipt', RECEIPT_OTHERS),
  ...eachField('the turn', TURN, 'body', { turnId: 'turn-2', tenant: 'south', user: 'bob' }),
  {
    name: 'the turn names a call that does not exist',
    alter: change(TURN, 'body', { callIds: [...ids, 'f'.repeat(32)] }),
  },
  {
    name: 'the turn names a call twice',
    alter: change(TURN, 'body', { callIds: [...ids, ids[0]] }),
  },
  { name: 'the turn hides a call', alter: change(TURN, 'body', { callIds: ids.slice(1) }) },
  { name: 'the turn names no call', alter: change(TURN, 'body', { callIds: [] }) },
  ...eachField('the record of withheld tools', WITHHELD, 'body', {
    ...{ policyId: 'default@2', policyDigest: OTHER_DIGEST, count: 0 },
    tools: [{ tool: 'fs.read', ruleId: 'no-write' }],
  }),
  {
    name: 'the tools are withheld by a rule that the policy does not have',
    alter: change(WITHHELD, 'body', { tools: [{ tool: 'fs.write', ruleId: 'none-such' }] }),
  },
  {
    name: 'the tools are withheld by a rule that allows',
    alter: change(WITHHELD, 'body', { tools: [{ tool: 'fs.read', ruleId: 'read' }] }),
  },
  {
    name: 'more tools are named than were withheld',
    alter: change(WITHHELD, 'body', {
      tools: ['fs.write', 'fs.remove'].map((tool) => ({ tool, ruleId: null })),
    }),
  },
  { name: 'tools are withheld from a turn that has ended', alter: swapped(WITHHELD, TURN) },
  { name: 'the intent of a call that ran is gone', alter: without(INTENT) },
  { name: 'the policy is gone', alter: without(2) },
  { name: 'the denial is gone', alter: without(DENIED) },
  { name: 'the first record is gone', alter: without(0) },
  { name: 'the intent is there twice', alter: twice(INTENT) },
  { name: 'the receipt is there twice', alter: twice(RAN) },
  { name: 'the denial is there twice', alter: twice(DENIED) },
  { name: 'the turn is there twice', alter: twice(TURN) },
  { name: 'the intent follows its receipt', alter: swapped(INTENT, RAN) },
  { name: 'the denial follows its receipt', alter: swapped(DENIED, DENIED_RECEIPT) },
  { name: 'the policy follows the decision', alter: swapped(2, INTENT) },
  { name: 'the turn comes before its last call', alter: swapped(FAILED, TURN) },
  { name: 'the ledger was opened twice', alter: twice(0) },
  {
    name: 'the denied call is said to be done',
    alter: change(DENIED_RECEIPT, 'receipt', { outcome: 'failed' }),
  },
  {
    name: 'a call without intent is said to be denied',
    alter: change(FAILED, 'receipt', { outcome: 'denied' }),
  },
  {
    name: 'a call without intent is said to be unknown',
    alter: change(FAILED, 'receipt', { outcome: 'unknown' }),
  },
  {
    name: 'a call is intended while no bundle is in force',
    alter: (drafts) => {
      const none = change(2, 'body', { state: 'none', ...NO_POLICY, version: undefined })(drafts);
      const body = { ...none[INTENT]?.body, ...NO_POLICY };
      const stopped = { ...none.at(-1)!, kind: 'host.stopped' };
      return [...none.slice(0, INTENT), { kind: 'call.intent', body }, stopped];
    },
  },
  { name: 'the policy has another id', alter: change(2, 'body', { policyId: 'default@2' }) },
  { name: 'the policy has another version', alter: change(2, 'body', { version: 9 }) },
  { name: 'the policy had expired', alter: change(2, 'body', { state: 'expired' }) },
  { name: 'the policy was stale', alter: change(2, 'body', { state: 'stale' }) },
  {
    name: 'the intent is for a tool that policy denies',
    alter: (drafts) =>
      change(RAN, 'both receipts', { tool: 'fs.write' })(
        change(INTENT, 'body', { tool: 'fs.write' })(drafts),
      ),
  },
  {
    name: 'the intent is for a tool that no rule allows',
    alter: (drafts) =>
      change(RAN, 'both receipts', { tool: 'web.get' })(
        change(INTENT, 'body', { tool: 'web.get' })(drafts),
      ),
  },
  {
    name: 'the intent has higher caps than policy',
    alter: change(INTENT, 'body', { caps: { timeoutMs: 6_000 } }),
  },
  { name: 'a record has an unknown field', alter: change(1, 'body', { colour: 'red' }) },
  {
    name: 'a record has an unknown kind',
    alter: (drafts) => drafts.with(1, { kind: 'host.painted', body: {} }),
  },
  {
    name: 'a record has a later version',
    alter: (drafts) => drafts.with(1, { ...drafts[1]!, v: 3 }),
  },
  {
    name: 'a record has an earlier version',
    alter: (drafts) => drafts.with(5, { ...drafts[5]!, v: 1 }),
  },
  {
    name: 'a record was synced before it was written',
    alter: (drafts) => drafts.with(5, { ...drafts[5]!, synced: 6 }),
  },
  {
    name: 'a record follows the end of the ledger',
    alter: (drafts) => drafts.toSpliced(TURN, 0, { kind: 'ledger.ended', body: {} }),
  },
  {
    name: 'more records are adopted than there are',
    alter: (drafts) => drafts.toSpliced(1, 0, { kind: 'ledger.adopted', body: { records: 9 } }),
  },
];
