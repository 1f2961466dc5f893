import { ZlError } from '@zerolatency/errors';
import {
  type KeySet,
  type KeySetOptions,
  possessionFault,
  verifyDeviceCredential,
  watchKeySet,
} from '@zerolatency/identity';
import type { Clock } from '../../ports.ts';
import type { HelloVerifier } from '../../sessions/hello.ts';

export interface HelloVerifierOptions extends Pick<KeySetOptions, 'log'> {
  readonly jwksFile: string;
  /** Empty: any. */
  readonly issuer: string;
  readonly relayId: string;
  readonly clock: Pick<Clock, 'unixMs'>;
}

export interface WatchedHelloVerifier extends HelloVerifier, Pick<KeySet, 'close' | 'status'> {}

/** Verifies credentials against the key set file of the enrolment authority. */
export async function openHelloVerifier(
  options: HelloVerifierOptions,
): Promise<WatchedHelloVerifier> {
  const { jwksFile, issuer, relayId, clock, log } = options;
  const keySet = await watchKeySet({ file: jwksFile, setting: 'enrolment.jwksFile', log });
  return {
    close: () => keySet.close(),
    status: () => keySet.status(),
    verify: async ({ credential, proof, nonce }) => {
      const nowMs = clock.unixMs();
      const rules = { nowMs, ...(issuer === '' ? {} : { issuer }) };
      const { value, error } = await verifyDeviceCredential(credential, keySet.keys(), rules);
      if (error !== undefined) return refuse(`the credential is refused: ${error}`);
      const fault = await possessionFault(proof, value.key, { nonce, audience: relayId, nowMs });
      if (fault !== undefined) return refuse(`the proof is refused: ${fault}`);
      const { device, issuedAtMs, expiresAtMs } = value;
      return { ...device, issuedAtMs, expiresAtMs };
    },
  };
}

function refuse(why: string): { error: ZlError } {
  return { error: new ZlError('device.credential_invalid', `hello refused: ${why}`) };
}
