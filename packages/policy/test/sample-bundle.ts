import { signDocument, signerFromPem } from '@zerolatency/signing';
import { makeKey } from '@zerolatency/testing';
import {
  type Bundle,
  type BundleState,
  POLICY_BUNDLE,
  type PolicyRequest,
  type Rule,
} from '../src/index.ts';

export const NOW = Date.UTC(2030, 0, 1, 12);
export const DAY_MS = 24 * 60 * 60 * 1000;

/** Reading below /data, and nothing else. */
export function sampleBundle(changes: Partial<Bundle> = {}): Bundle {
  return {
    schema: 'zerolatency.policy/v1',
    id: 'default',
    version: 1,
    issuedAt: new Date(NOW).toISOString(),
    expiresAt: new Date(NOW + 7 * DAY_MS).toISOString(),
    rules: [allow({ paths: { argument: 'path', within: ['/data'] }, caps: { maxBytes: 1024 } })],
    ...changes,
  };
}

/** In force on the real clock, for an hour; it allows every tool. */
export function currentBundle(changes: Partial<Bundle> = {}): Bundle {
  const nowMs = Date.now();
  return sampleBundle({
    issuedAt: new Date(nowMs - 1000).toISOString(),
    expiresAt: new Date(nowMs + 3_600_000).toISOString(),
    rules: [{ id: 'all', effect: 'allow', tools: ['*'] }],
    ...changes,
  });
}

export function allow(changes: Partial<Rule> = {}): Rule {
  return { id: 'read', effect: 'allow', tools: ['fs.read'], ...changes };
}

export function deny(changes: Partial<Rule> = {}): Rule {
  return { id: 'no', effect: 'deny', tools: ['fs.read'], ...changes };
}

/** Asks the owner of all tools. */
export function escalate(changes: Partial<Rule> = {}): Rule {
  const approvers = { roles: ['owner'] };
  return { id: 'ask', effect: 'escalate', tools: ['fs.read'], approvers, ...changes };
}

export function sampleRequest(changes: Partial<PolicyRequest> = {}): PolicyRequest {
  return {
    tool: 'fs.read',
    version: '1.0.0',
    arguments: { path: '/data/welcome.txt' },
    tenant: 'north',
    user: 'user-1',
    roles: ['user'],
    deviceId: 'laptop',
    nowMs: NOW,
    callsThisTurn: 0,
    ...changes,
  };
}

export const policyKey = makeKey();

export function signed(changes: Partial<Bundle> = {}, key = policyKey): Promise<string> {
  return signDocument(POLICY_BUNDLE, sampleBundle(changes), [signerFromPem(key.privatePem)]);
}

export function nameOfState(held: BundleState): string {
  return held.state === 'none' ? 'none' : `${held.name} ${held.state}`;
}
