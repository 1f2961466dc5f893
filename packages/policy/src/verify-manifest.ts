import { ZlError } from '@zerolatency/errors';
import { checkManifest } from './check-manifest.ts';
import { type Floor, rollbackFault } from './floor.ts';
import type { Manifest } from './manifest.ts';
import { MANIFEST_PAYLOAD_TYPE } from './sign-manifest.ts';
import { openDocument } from './signed-document.ts';
import { MAX_CLOCK_SKEW_MS } from './verify-bundle.ts';

export interface VerifiedManifest {
  readonly manifest: Manifest;
  readonly digest: string;
  readonly keyids: readonly string[];
}

interface Rules {
  /** SPKI PEM texts. */
  readonly keys: readonly string[];
  readonly nowMs: number;
  readonly floor?: Floor | undefined;
}

/** The manifest, or manifest.invalid. It does not expire: a device works without a network. */
export function verifyManifest(
  envelopeText: string,
  { keys, nowMs, floor }: Rules,
): VerifiedManifest | { error: ZlError } {
  const read = readManifest(envelopeText, keys);
  if ('error' in read) return read;
  const { id, version, issuedAt } = read.manifest;
  if (Date.parse(issuedAt) > nowMs + MAX_CLOCK_SKEW_MS) {
    return invalid(`it was issued in the future, at ${issuedAt}`);
  }
  const fault = rollbackFault(floor, { id, version, digest: read.digest });
  return fault === undefined ? read : invalid(fault);
}

/** Whatever its age and version. */
export function readManifest(
  envelopeText: string,
  keys: readonly string[],
): VerifiedManifest | { error: ZlError } {
  const opened = openDocument(envelopeText, { payloadType: MANIFEST_PAYLOAD_TYPE, keys });
  if ('fault' in opened) return invalid(opened.fault);
  const { value, digest, keyids } = opened.document;
  const checked = checkManifest(value);
  return 'error' in checked ? checked : { manifest: checked.manifest, digest, keyids };
}

function invalid(why: string): { error: ZlError } {
  return { error: new ZlError('manifest.invalid', `server manifest refused: ${why}`) };
}
