import { ZlError } from '@zerolatency/errors';
import type { Bundle } from './bundle.ts';
import { checkBundle } from './check-bundle.ts';
import { type Floor, rollbackFault } from './floor.ts';
import { BUNDLE_PAYLOAD_TYPE } from './sign-bundle.ts';
import { openDocument } from './signed-document.ts';

export interface VerifiedBundle {
  readonly bundle: Bundle;
  readonly digest: string;
  readonly keyids: readonly string[];
}

interface Rules {
  /** SPKI PEM texts. */
  readonly keys: readonly string[];
  readonly nowMs: number;
  readonly floor?: Floor | undefined;
}

/** By how much the clock of who signs may be ahead of ours. */
export const MAX_CLOCK_SKEW_MS = 5 * 60 * 1000;

/** A bundle that may be used now, be it in its grace; policy.invalid otherwise. */
export function verifyBundle(
  envelopeText: string,
  { keys, nowMs, floor }: Rules,
): VerifiedBundle | { error: ZlError } {
  const read = readBundle(envelopeText, keys);
  if ('error' in read) return read;
  const { bundle, digest } = read;
  const { id, version } = bundle;
  const fault = timeFault(bundle, nowMs) ?? rollbackFault(floor, { id, version, digest });
  return fault === undefined ? read : invalid(fault);
}

/** Whatever its age. */
export function readBundle(
  envelopeText: string,
  keys: readonly string[],
): VerifiedBundle | { error: ZlError } {
  const opened = openDocument(envelopeText, { payloadType: BUNDLE_PAYLOAD_TYPE, keys });
  if ('fault' in opened) return invalid(opened.fault);
  const { value, digest, keyids } = opened.document;
  const checked = checkBundle(value);
  return 'error' in checked ? checked : { bundle: checked.bundle, digest, keyids };
}

export function ageOf(bundle: Bundle, nowMs: number): 'active' | 'stale' | 'expired' {
  const expiresAtMs = Date.parse(bundle.expiresAt);
  if (nowMs < expiresAtMs) return 'active';
  return nowMs < expiresAtMs + (bundle.graceMs ?? 0) ? 'stale' : 'expired';
}

function timeFault(bundle: Bundle, nowMs: number): string | undefined {
  if (Date.parse(bundle.issuedAt) > nowMs + MAX_CLOCK_SKEW_MS) {
    return `it was issued in the future, at ${bundle.issuedAt}`;
  }
  return ageOf(bundle, nowMs) === 'expired' ? `it expired at ${bundle.expiresAt}` : undefined;
}

function invalid(why: string): { error: ZlError } {
  return { error: new ZlError('policy.invalid', `policy bundle refused: ${why}`) };
}
