import { ZlError } from '@zerolatency/errors';
import {
  type KeySet,
  type KeySetOptions,
  type ProvenDevice,
  possessionFault,
  verifyDeviceCredential,
  watchKeySet,
} from '@zerolatency/identity';
import type { Clock } from '../../ports.ts';
import type { HelloVerifier, ProvedDevice } from '../../sessions/hello.ts';

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
  const read = (credential: string) => {
    const rules = { nowMs: clock.unixMs(), ...(issuer === '' ? {} : { issuer }) };
    return verifyDeviceCredential(credential, keySet.keys(), rules);
  };
  return {
    close: () => keySet.close(),
    status: () => keySet.status(),
    verify: async ({ credential, proof, nonce }) => {
      const { value, error } = await read(credential);
      if (error !== undefined) return refuse(`the credential is refused: ${error}`);
      const challenge = { nonce, audience: relayId, nowMs: clock.unixMs() };
      const fault = await possessionFault(proof, value.key, challenge);
      if (fault !== undefined) return refuse(`the proof is refused: ${fault}`);
      return provedBy(value);
    },
    check: async (credential) => {
      const { value, error } = await read(credential);
      return error === undefined ? provedBy(value) : refuse(`the credential is refused: ${error}`);
    },
  };
}

function provedBy({ device, issuedAtMs, expiresAtMs }: ProvenDevice): ProvedDevice {
  return { ...device, issuedAtMs, expiresAtMs };
}

function refuse(why: string): { error: ZlError } {
  return { error: new ZlError('device.credential_invalid', `hello refused: ${why}`) };
}
