import type { KeyObject } from 'node:crypto';
import {
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
  type ResolvedKey,
} from 'jose';

/** Asymmetric only: with a shared secret whoever verifies could also issue. */
const ISSUER_ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'];

/**
 * Every JWT we accept. The types differ, so that none passes for another, even
 * when one key signs several kinds. An identity provider's access tokens are of
 * type "JWT", "at+jwt" (RFC 9068) or none.
 */
export const JWT_KINDS = {
  accessToken: {
    types: ['', 'jwt', 'at+jwt'],
    algorithms: ISSUER_ALGORITHMS,
    // Without them nothing else would refuse the token; names are refused by their grammar.
    requiredClaims: ['exp'],
    toleranceS: 5,
  },
  deviceCredential: {
    types: ['zl-device+jwt'],
    algorithms: ISSUER_ALGORITHMS,
    requiredClaims: ['exp'],
    toleranceS: 30,
  },
  /** Fresh by its nonce: a device's clock may be wrong. */
  possessionProof: {
    types: ['zl-proof+jwt'],
    algorithms: ['EdDSA', 'Ed25519', 'ES256'],
    requiredClaims: ['nonce', 'aud'],
    toleranceS: 0,
  },
  /** The code that it names is used once. */
  enrolmentProof: {
    types: ['zl-enrolment+jwt'],
    algorithms: ['EdDSA', 'Ed25519', 'ES256'],
    requiredClaims: ['aud', 'iat', 'code_hash'],
    // Its reader compares the time of issue.
    toleranceS: 0,
  },
  /** Bound to a credential that expires: whoever repeats it gets another one for the same key. */
  renewalProof: {
    types: ['zl-renewal+jwt'],
    algorithms: ['EdDSA', 'Ed25519', 'ES256'],
    requiredClaims: ['credential_hash'],
    toleranceS: 0,
  },
  peerToken: {
    types: ['zl-peer+jwt'],
    algorithms: ['EdDSA', 'ES256', 'RS256'],
    requiredClaims: ['exp', 'iat', 'aud', 'jti'],
    toleranceS: 30,
  },
} as const;

type JwtKind = keyof typeof JWT_KINDS;

export interface JwtRules {
  readonly nowMs: number;
  readonly issuer?: string;
  readonly audience?: string | readonly string[];
  /** Instead of those of the kind. */
  readonly algorithms?: readonly string[];
  readonly toleranceS?: number;
}

type VerifiedJwt =
  | {
      readonly value: JWTPayload;
      readonly expiresAtMs: number;
      /** The key of a key set that signed it. */
      readonly key?: SigningKey | undefined;
      readonly error?: undefined;
    }
  | { readonly value?: undefined; readonly error: string; readonly cause?: unknown };

export type SigningKey = Exclude<ResolvedKey['key'], Uint8Array>;
type Key = JWTVerifyGetKey | Extract<Parameters<typeof jwtVerify>[1], object>;

/** The claims of a JWT of one kind; the error says no more than what is wrong with it. */
export async function verifyJwt(
  kind: JwtKind,
  text: string,
  key: Key,
  rules: JwtRules,
): Promise<VerifiedJwt> {
  const { types, requiredClaims, ...ofKind } = JWT_KINDS[kind];
  const { nowMs, issuer, audience, toleranceS = ofKind.toleranceS } = rules;
  try {
    const options = {
      algorithms: [...(rules.algorithms ?? ofKind.algorithms)],
      requiredClaims: [...requiredClaims],
      currentDate: new Date(nowMs),
      clockTolerance: toleranceS,
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined ? {} : { audience: [audience].flat() }),
    };
    if (!isOneOf(types, text)) return { error: 'it is of another type' };
    const { payload, key: signedBy } = await verifyWithAnyKey(text, key, options);
    return {
      value: payload,
      expiresAtMs: ((payload.exp ?? 0) + toleranceS) * 1000,
      key: signedBy instanceof Uint8Array ? undefined : signedBy,
    };
  } catch (cause) {
    return { error: faultOf(cause), cause };
  }
}

function isOneOf(types: readonly string[], text: string): boolean {
  const { typ = '' } = decodeProtectedHeader(text);
  return types.includes(typ.toLowerCase().replace(/^application\//, ''));
}

/** A JWT need not say which key signed it, as while keys are rotated. */
async function verifyWithAnyKey(
  text: string,
  key: Key,
  options: JWTVerifyOptions,
): Promise<JWTVerifyResult & Partial<ResolvedKey>> {
  if (typeof key !== 'function') return jwtVerify(text, key, options);
  try {
    return await jwtVerify(text, key, options);
  } catch (reason) {
    if (!(reason instanceof errors.JWKSMultipleMatchingKeys)) throw reason;
    for await (const candidate of reason) {
      try {
        return { ...(await jwtVerify(text, candidate, options)), key: candidate };
      } catch (fault) {
        // Another key may fit; any other fault is the same with all of them.
        if (!(fault instanceof errors.JWSSignatureVerificationFailed)) throw fault;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

function faultOf(reason: unknown): string {
  if (reason instanceof errors.JWTExpired) return 'it has expired';
  if (reason instanceof errors.JWTClaimValidationFailed)
    return `its claim "${reason.claim}" does not fit`;
  if (reason instanceof errors.JWSSignatureVerificationFailed) return 'its signature does not hold';
  if (reason instanceof errors.JWKSNoMatchingKey) return 'no key of the key set fits it';
  if (reason instanceof errors.JOSEAlgNotAllowed) return 'its algorithm is not allowed';
  return 'it cannot be read';
}

export type JwtAlgorithm = 'EdDSA' | 'ES256' | 'RS256';

/** The one algorithm we use with a key, so that a JWT cannot choose another. */
export function algorithmOf(key: KeyObject): JwtAlgorithm | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return 'EdDSA';
    case 'ec':
      return details?.namedCurve === 'prime256v1' ? 'ES256' : undefined;
    case 'rsa':
      return (details?.modulusLength ?? 0) >= 2048 ? 'RS256' : undefined;
    default:
      return undefined;
  }
}
