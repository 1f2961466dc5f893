import { ZlError } from '@zerolatency/errors';
import { errors, importJWK, type JWTPayload } from 'jose';
import type { DeviceAddress } from '../../directory/directory.ts';

type ImportedKey = Awaited<ReturnType<typeof importJWK>>;

export interface DeviceKey {
  readonly key: ImportedKey;
  /** The one algorithm we use with the key, so that a proof cannot choose another. */
  readonly algorithm: 'EdDSA' | 'ES256';
}

/** They go into log lines, directory keys and pages; as long as any real id. */
const namePattern = /^[\w.:@/+-]{1,128}$/;

/** Who a credential is for, and the key that proves it. */
export async function deviceClaims(
  claims: JWTPayload,
): Promise<{ readonly device: DeviceAddress; readonly key: DeviceKey }> {
  const { cnf } = claims;
  const jwk = typeof cnf === 'object' && cnf !== null && 'jwk' in cnf ? cnf.jwk : undefined;
  return {
    device: { tenant: name(claims.tenant, 'tenant'), deviceId: name(claims.sub, 'sub') },
    key: await deviceKey(jwk),
  };
}

function name(value: unknown, claim: string): string {
  if (typeof value !== 'string' || !namePattern.test(value)) throw invalid(`${claim} is no name`);
  return value;
}

async function deviceKey(jwk: unknown): Promise<DeviceKey> {
  if (typeof jwk !== 'object' || jwk === null) throw invalid('cnf holds no jwk');
  const { kty, crv, x, y } = jwk as Partial<Record<string, unknown>>;
  // Only public parts are taken over, and only of curves we name: no shared secrets.
  const isEd25519 = kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string';
  const isP256 = kty === 'EC' && crv === 'P-256' && typeof x === 'string' && typeof y === 'string';
  try {
    if (isEd25519) return { key: await importJWK({ kty, crv, x }, 'EdDSA'), algorithm: 'EdDSA' };
    if (isP256) return { key: await importJWK({ kty, crv, x, y }, 'ES256'), algorithm: 'ES256' };
  } catch (cause) {
    if (cause instanceof errors.JOSEError || cause instanceof Error) {
      throw invalid('the key in cnf cannot be used', cause);
    }
    throw cause;
  }
  throw invalid('the key in cnf is neither Ed25519 nor P-256');
}

function invalid(why: string, cause?: unknown): ZlError {
  return new ZlError('device.credential_invalid', `credential refused: ${why}`, { cause });
}
