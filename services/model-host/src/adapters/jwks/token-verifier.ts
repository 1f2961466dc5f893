import { createHash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import {
  type KeySet,
  type KeySetOptions,
  type ProvenIdentity,
  verifyAccessToken,
  watchKeySet,
} from '@zerolatency/identity';
import { LRUCache } from 'lru-cache';

export interface TokenRules {
  readonly jwksFile: string;
  readonly issuer: string;
  readonly audience: string;
}

export interface TokenVerifierOptions extends Pick<KeySetOptions, 'log' | 'pollMs'> {
  readonly nowMs?: () => number;
}

export interface TokenVerifier {
  /** @throws ZlError identity.invalid, which says no more than what is wrong with the token. */
  verify(token: string): Promise<ProvenIdentity>;
  check(): Promise<void>;
  status: KeySet['status'];
  close(): void;
}

const MAX_TOKEN_CHARS = 16 * 1024;
const MAX_VERIFIED_TOKENS = 10_000;

/** Verifies access tokens against a key set file, and remembers those it has verified. */
export async function openTokenVerifier(
  { jwksFile, issuer, audience }: TokenRules,
  { nowMs = Date.now, ...options }: TokenVerifierOptions,
): Promise<TokenVerifier> {
  const keySet = await watchKeySet({ ...options, file: jwksFile, setting: 'identity.jwksFile' });
  const verified = new LRUCache<string, ProvenIdentity>({ max: MAX_VERIFIED_TOKENS });
  let keys = keySet.keys();
  return {
    check: () => keySet.check(),
    status: () => keySet.status(),
    close: () => keySet.close(),
    verify: async (token) => {
      if (token.length > MAX_TOKEN_CHARS) throw invalid('it is too long');
      if (keys !== keySet.keys()) {
        // A key that was removed must not live on in the tokens it signed.
        verified.clear();
        keys = keySet.keys();
      }
      const id = digest(token);
      const known = verified.get(id);
      if (known !== undefined && known.expiresAtMs > nowMs()) return known;
      const keysThen = keys;
      const rules = { issuer, audience, nowMs: nowMs() };
      const result = await verifyAccessToken(token, keysThen, rules);
      if (result.error !== undefined) throw invalid(result.error, result.cause);
      // The file may have changed while the signature was checked.
      if (keysThen === keySet.keys()) verified.set(id, result.value);
      return result.value;
    },
  };
}

/** The token itself is a secret and stays out of long-lived memory. */
function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}

function invalid(why: string, cause?: unknown): ZlError {
  return new ZlError('identity.invalid', `the access token is refused: ${why}`, { cause });
}
