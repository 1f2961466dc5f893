import { ZlError } from '@zerolatency/errors';
import { type Verifier, verifierFromJwk } from '@zerolatency/signing';
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';

export interface CredentialCheckOptions {
  /** The authority's key set; read at each check, so that it may be rotated. */
  readonly deviceKeys: () => JSONWebKeySet;
  readonly nowMs: () => number;
}

export type CredentialCheck = (
  credential: string,
  device: { tenant: string; deviceId: string },
) => Promise<{ verifier: Verifier } | { error: ZlError }>;

/** More than a relay grants, so that no device it still holds is unreachable for want of a second. */
const CLOCK_TOLERANCE_S = 60;

const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'];

/**
 * The relay hands the credential on; the host believes only the authority's
 * signature, so a stolen relay cannot bring its own device key.
 */
export function createCredentialCheck({
  deviceKeys,
  nowMs,
}: CredentialCheckOptions): CredentialCheck {
  return async (credential, { tenant, deviceId }) => {
    try {
      const { payload } = await jwtVerify(credential, createLocalJWKSet(deviceKeys()), {
        typ: 'zl-device+jwt',
        algorithms: ALGORITHMS,
        requiredClaims: ['sub', 'exp', 'tenant', 'cnf'],
        currentDate: new Date(nowMs()),
        clockTolerance: CLOCK_TOLERANCE_S,
      });
      if (payload.sub !== deviceId || payload.tenant !== tenant) {
        return invalid(`the credential is of another device than ${deviceId}`);
      }
      return { verifier: verifierOf(payload) };
    } catch (cause) {
      return invalid(`the credential of ${deviceId} does not verify`, cause);
    }
  };
}

function verifierOf(payload: JWTPayload): Verifier {
  const { cnf } = payload;
  if (typeof cnf !== 'object' || cnf === null || !('jwk' in cnf)) throw new Error('cnf has no jwk');
  const { jwk } = cnf;
  if (typeof jwk !== 'object' || jwk === null) throw new Error('cnf.jwk is not a key');
  return verifierFromJwk({ ...jwk });
}

function invalid(message: string, cause?: unknown): { error: ZlError } {
  return { error: new ZlError('device.credential_invalid', message, { cause }) };
}
