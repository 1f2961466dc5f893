import { ZlError } from '@zerolatency/errors';
import {
  HOST_CREDENTIAL_TOLERANCE_S,
  type KeySet,
  verifyDeviceCredential,
} from '@zerolatency/identity';
import { type Verifier, verifierFromJwk } from '@zerolatency/signing';

export interface CredentialCheckOptions {
  /** Keys of the enrolment authority; read at each check, so that they may be rotated. */
  readonly deviceKeys: KeySet['keys'];
  readonly nowMs: () => number;
}

export type CredentialCheck = (
  credential: string,
  device: { tenant: string; deviceId: string },
) => Promise<{ verifier: Verifier } | { error: ZlError }>;

/**
 * The relay passes the credential on; the host trusts only the authority's
 * signature, so a stolen relay cannot substitute a device key of its own.
 */
export function createCredentialCheck({
  deviceKeys,
  nowMs,
}: CredentialCheckOptions): CredentialCheck {
  return async (credential, { tenant, deviceId }) => {
    const rules = { nowMs: nowMs(), toleranceS: HOST_CREDENTIAL_TOLERANCE_S };
    const { value, error } = await verifyDeviceCredential(credential, deviceKeys(), rules);
    if (error !== undefined) {
      return invalid(`the credential of ${deviceId} does not verify: ${error}`);
    }
    if (value.device.deviceId !== deviceId || value.device.tenant !== tenant) {
      return invalid(`the credential belongs to another device than ${deviceId}`);
    }
    try {
      return { verifier: verifierFromJwk({ ...value.key.jwk }) };
    } catch (cause) {
      return invalid(`the key in the credential of ${deviceId} cannot be used`, cause);
    }
  };
}

function invalid(message: string, cause?: unknown): { error: ZlError } {
  return { error: new ZlError('device.credential_invalid', message, { cause }) };
}
