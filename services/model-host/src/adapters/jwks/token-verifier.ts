import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { ProvenIdentity } from '../../ports.ts';
import { identityOf } from './claims.ts';
import { VerifiedTokens } from './verified-tokens.ts';

export interface TokenRules {
  readonly jwksFile: string;
  readonly issuer: string;
  readonly audience: string;
}

export interface TokenVerifierOptions {
  readonly log: {
    warn(fields: object, message: string): void;
    info(fields: object, message: string): void;
  };
  readonly pollMs?: number;
  readonly nowMs?: () => number;
}

export interface TokenVerifier {
  /** @throws ZlError identity.invalid, which never says more than what is wrong with the token. */
  verify(token: string): Promise<ProvenIdentity>;
  /** Reads the key set again now. */
  check(): Promise<void>;
  close(): void;
}

// Asymmetric only: with a shared secret whoever verifies could also issue.
const algorithms = ['EdDSA', 'ES256', 'RS256'];
const MAX_TOKEN_CHARS = 16 * 1024;
const MAX_VERIFIED_TOKENS = 10_000;
const CLOCK_TOLERANCE_S = 5;

/** Verifies user tokens against a key set file, which may change while we run. */
export async function openTokenVerifier(
  rules: TokenRules,
  options: TokenVerifierOptions,
): Promise<TokenVerifier> {
  const { log, pollMs = 1000, nowMs = Date.now } = options;
  const verified = new VerifiedTokens(MAX_VERIFIED_TOKENS);
  let keys = await readKeys(rules.jwksFile);
  const files = watchFiles({
    pollMs,
    files: async () => [rules.jwksFile],
    onChange: (contents) => {
      const text = contents.get(rules.jwksFile);
      if (text === undefined) return;
      keys = parseKeys(text.toString(), rules.jwksFile);
      // A key that was taken out must not live on in what it once signed.
      verified.clear();
      log.info({ file: rules.jwksFile }, 'user key set loaded');
    },
    onError: (error) =>
      log.warn({ err: error, file: rules.jwksFile }, 'user key set kept, the new one is unusable'),
  });
  return {
    check: () => files.check(),
    close: () => files.close(),
    verify: async (token) => {
      if (token.length > MAX_TOKEN_CHARS) {
        throw new ZlError('identity.invalid', 'the token is too long');
      }
      const known = verified.find(token, nowMs());
      if (known !== undefined) return known;
      // Held, because the key set may be replaced while the signature is checked.
      const keysThen = keys;
      const proven = await verifyToken(token, keysThen, rules, nowMs());
      if (keysThen === keys) verified.remember(token, proven);
      return proven;
    },
  };
}

async function verifyToken(
  token: string,
  keys: JWTVerifyGetKey,
  rules: TokenRules,
  nowMs: number,
): Promise<ProvenIdentity> {
  try {
    const { payload } = await verifySigned(token, keys, {
      algorithms,
      issuer: rules.issuer,
      audience: rules.audience,
      requiredClaims: ['exp', 'sub', 'tenant'],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(nowMs),
    });
    const expiresAtMs = ((payload.exp ?? 0) + CLOCK_TOLERANCE_S) * 1000;
    return { identity: identityOf(payload), expiresAtMs };
  } catch (reason) {
    if (reason instanceof ZlError) throw reason;
    throw new ZlError('identity.invalid', `the token is refused: ${refusal(reason)}`, {
      cause: reason,
    });
  }
}

/** A token need not say which key signed it. */
async function verifySigned(token: string, keys: JWTVerifyGetKey, options: JWTVerifyOptions) {
  try {
    return await jwtVerify(token, keys, options);
  } catch (reason) {
    if (!(reason instanceof errors.JWKSMultipleMatchingKeys)) throw reason;
    for await (const key of reason) {
      try {
        return await jwtVerify(token, key, options);
      } catch (fault) {
        // Another key may be the one; whatever else is wrong is so with all of them.
        if (!(fault instanceof errors.JWSSignatureVerificationFailed)) throw fault;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

function refusal(reason: unknown): string {
  if (reason instanceof errors.JWTExpired) return 'it has expired';
  if (reason instanceof errors.JWTClaimValidationFailed)
    return `its claim "${reason.claim}" does not fit`;
  if (reason instanceof errors.JWSSignatureVerificationFailed) return 'its signature does not hold';
  if (reason instanceof errors.JWKSNoMatchingKey) return 'no key of the key set fits it';
  if (reason instanceof errors.JOSEAlgNotAllowed) return 'its algorithm is not allowed';
  return 'it cannot be read';
}

async function readKeys(file: string): Promise<JWTVerifyGetKey> {
  try {
    return parseKeys(await readFile(file, 'utf8'), file);
  } catch (reason) {
    if (reason instanceof ZlError) throw reason;
    throw new ZlError('config.invalid', `identity.jwksFile ${file} cannot be read`, {
      cause: reason,
    });
  }
}

function parseKeys(text: string, file: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(withoutPrivateParts(JSON.parse(text)));
  } catch (reason) {
    throw new ZlError('config.invalid', `identity.jwksFile ${file} is not a JSON Web Key Set`, {
      cause: reason,
    });
  }
}

/** A symmetric or private key in this file is a mistake worth stopping for. */
function withoutPrivateParts(value: JSONWebKeySet): JSONWebKeySet {
  for (const key of value.keys) {
    if (key.kty === 'oct' || 'd' in key) throw new Error('the key set holds a secret key');
  }
  return value;
}
