import { createPublicKey, type KeyObject } from 'node:crypto';
import { exportJWK, SignJWT } from 'jose';
import { publicKeyOf } from './device-credential.ts';
import { algorithmOf, JWT_KINDS, verifyJwt } from './jwt.ts';

export interface EnrolmentClaim {
  /** As `enrolmentCodeHash` gives it. */
  readonly codeHash: string;
  /** The origin of the registrar's URL. */
  readonly audience: string;
  readonly nowMs: number;
}

/** Clocks of devices are worse than those of servers; a code lives three times as long. */
const MAX_SKEW_MS = 5 * 60_000;

/** Shows that whoever has the code also holds the key. */
export async function signEnrolmentProof(
  key: KeyObject,
  { codeHash, audience, nowMs }: EnrolmentClaim,
): Promise<{ readonly jwk: string; readonly proof: string }> {
  const [typ] = JWT_KINDS.enrolmentProof.types;
  const proof = await new SignJWT({ code_hash: codeHash })
    .setProtectedHeader({ alg: algorithmOf(key) ?? 'EdDSA', typ })
    .setAudience(audience)
    .setIssuedAt(Math.floor(nowMs / 1000))
    .sign(key);
  return { jwk: JSON.stringify(await exportJWK(createPublicKey(key))), proof };
}

type Verified =
  | { readonly value: KeyObject; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** The device's public key, when it signed the proof for this code and registrar just now. */
export async function verifyEnrolmentProof(
  { jwk, proof }: { readonly jwk: string; readonly proof: string },
  { codeHash, audience, nowMs }: EnrolmentClaim,
): Promise<Verified> {
  const key = readPublicKey(jwk);
  if (key === undefined) return { error: 'the key is not a public JWK of Ed25519 or P-256' };
  const rules = { audience, nowMs, algorithms: key.algorithms };
  const { value, error } = await verifyJwt('enrolmentProof', proof, key.key, rules);
  if (error === 'its claim "aud" does not fit') {
    return { error: `the proof is not for ${audience}` };
  }
  if (error !== undefined) return { error: `the proof is refused: ${error}` };
  if (value.code_hash !== codeHash) return { error: 'the proof is for another code' };
  const skewMs = Number(value.iat) * 1000 - nowMs;
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return { value: key.key };
  const minutes = Math.round(Math.abs(skewMs) / 60_000);
  const where = skewMs > 0 ? 'ahead of' : 'behind';
  return { error: `the proof was signed ${minutes} min ${where} the clock of the registrar` };
}

function readPublicKey(jwk: string) {
  try {
    const { value } = publicKeyOf({ jwk: JSON.parse(jwk) });
    if (value === undefined) return undefined;
    const key = createPublicKey({ key: { ...value.jwk }, format: 'jwk' });
    return { key, algorithms: value.algorithm === 'ES256' ? ['ES256'] : ['EdDSA', 'Ed25519'] };
  } catch {
    // Not JSON, or not a point of its curve.
    return undefined;
  }
}
