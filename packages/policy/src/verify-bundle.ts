import type { Digest } from '@zerolatency/signing';
import type { Bundle } from './bundle.ts';
import { BundleRefused, type RefusalReason } from './bundle-refused.ts';
import { checkBundle } from './check-bundle.ts';
import { type Floor, rollbackFault } from './floor.ts';
import { BUNDLE_PAYLOAD_TYPE } from './sign-bundle.ts';
import { openDocument } from './signed-document.ts';

export interface VerifiedBundle {
  readonly bundle: Bundle;
  readonly digest: Digest;
  readonly keyids: readonly string[];
}

interface Rules {
  /** SPKI PEM texts. */
  readonly keys: readonly string[];
  readonly nowMs: number;
  readonly floor?: Floor | undefined;
}

type Refusal = { readonly error: BundleRefused };

/** By how much the clock of who signs may be ahead of ours. */
export const MAX_CLOCK_SKEW_MS = 5 * 60 * 1000;

/** A bundle that may be used now, be it in its grace; policy.invalid otherwise. */
export function verifyBundle(
  envelopeText: string,
  { keys, nowMs, floor }: Rules,
): VerifiedBundle | Refusal {
  const read = readBundle(envelopeText, keys);
  if ('error' in read) return read;
  const { bundle, digest } = read;
  const { id, version } = bundle;
  const rollback = rollbackFault(floor, { id, version, digest });
  return (
    timeRefusal(bundle, nowMs) ?? (rollback === undefined ? read : refuse('rolled_back', rollback))
  );
}

/** Whatever its age. */
export function readBundle(
  envelopeText: string,
  keys: readonly string[],
): VerifiedBundle | Refusal {
  const opened = openDocument(envelopeText, { payloadType: BUNDLE_PAYLOAD_TYPE, keys });
  if ('fault' in opened) {
    return refuse(opened.isUnsigned ? 'signature' : 'malformed', opened.fault);
  }
  const { value, digest, keyids } = opened.document;
  const checked = checkBundle(value);
  if ('error' in checked) return { error: new BundleRefused('malformed', checked.error.message) };
  return { bundle: checked.bundle, digest, keyids };
}

export function ageOf(bundle: Bundle, nowMs: number): 'active' | 'stale' | 'expired' {
  const expiresAtMs = Date.parse(bundle.expiresAt);
  if (nowMs < expiresAtMs) return 'active';
  return nowMs < expiresAtMs + (bundle.graceMs ?? 0) ? 'stale' : 'expired';
}

function timeRefusal(bundle: Bundle, nowMs: number): Refusal | undefined {
  if (Date.parse(bundle.issuedAt) > nowMs + MAX_CLOCK_SKEW_MS) {
    return refuse('not_yet', `it was issued in the future, at ${bundle.issuedAt}`);
  }
  if (ageOf(bundle, nowMs) !== 'expired') return undefined;
  return refuse('expired', `it expired at ${bundle.expiresAt}`);
}

function refuse(reason: RefusalReason, why: string): Refusal {
  return { error: new BundleRefused(reason, `policy bundle refused: ${why}`) };
}
