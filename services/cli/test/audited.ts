import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Ledger, openLedger } from '@zerolatency/ledger';
import { currentBundle } from '@zerolatency/policy/testing';
import { type Receipt, signReceipt } from '@zerolatency/receipts';
import { digestOf, generateKeyPair, type Signer, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { fakeTerminal } from './fake-terminal.ts';
import { runZl } from './installed.ts';
export const CALL_ID = '0123456789abcdef0123456789abcdef';
export const TURN_ID = 'turn-1';
export const TENANT = 'north';
export const USER = 'user-1';
export const argumentsDigest = digestOf({ path: 'a.txt' });
const ARGUMENT_SALT = '5a'.repeat(16);
const bundle = currentBundle();
export const policyDigest = digestOf(bundle);

function receipt(): Receipt {
  return {
    role: 'host',
    executor: 'device',
    callId: CALL_ID,
    turnId: TURN_ID,
    tool: 'fs.read',
    argumentsDigest,
    outcome: 'failed',
    errorId: 'tool.failed',
    caps: { timeoutMs: 1_000 },
    policyId: 'default@1',
    policyDigest,
    elapsedUs: 1_234,
    startedAt: '2026-01-02T03:04:05.000Z',
    tenant: TENANT,
    user: USER,
  };
}

/** A ledger as a host leaves it. */
export async function audited(t: TestContext, change: Partial<Receipt> = {}) {
  const dir = tempDir(t);
  const ledgerDir = join(dir, 'ledger');
  const host = generateKeyPair();
  const signer = signerFromPem(host.privatePem);
  await mkdir(join(dir, 'keys'));
  await writeFile(join(dir, 'keys', 'host.pem'), host.publicPem);
  const ledger = await openLedger({ dir: ledgerDir, signer, origin: 'zerolatency/test' });
  await recordCall(ledger, signer, change);
  await ledger.close();
  const keys = ['--host-keys', join(dir, 'keys'), '--device-keys', join(dir, 'keys')];
  const zl = (...args: string[]) => runZl(fakeTerminal({ cwd: dir }), ['audit', ...args]);
  return {
    dir,
    ledgerDir,
    signer,
    verify: (...more: string[]) => zl('verify', ledgerDir, ...keys, ...more),
    show: (...more: string[]) => zl('show', ledgerDir, ...more),
    zl,
  };
}

/** Four records of a host that ran one call and stopped. */
export async function recordCall(
  ledger: Ledger,
  signer: Signer,
  change: Partial<Receipt> = {},
): Promise<void> {
  const { tool, ...known } = { ...receipt(), ...change };
  const { role: _, outcome: __, errorId: ___, elapsedUs: ____, startedAt: _____, ...facts } = known;
  ledger.keepBundle(policyDigest, bundle);
  await ledger.append({
    kind: 'policy.changed',
    body: { state: 'active', policyId: 'default@1', policyDigest, version: 1 },
  });
  await ledger.append({
    kind: 'call.intent',
    body: { ...facts, tool, argumentSalt: ARGUMENT_SALT },
  });
  const envelope = await signReceipt({ ...receipt(), ...change }, signer);
  await ledger.append({
    kind: 'call.receipt',
    body: { callId: CALL_ID, argumentSalt: ARGUMENT_SALT, receipt: envelope },
  });
  await ledger.append({ kind: 'host.stopped', body: { version: '1.2.3' } });
}

export async function segmentOf(dir: string): Promise<string> {
  const names = await readdir(dir);
  return join(dir, names.find((name) => name.endsWith('.jsonl')) ?? 'none');
}
