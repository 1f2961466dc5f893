import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import {
  algorithmOf,
  type DeviceIdentity,
  issueDeviceCredential,
  type RemoteKey,
} from '@zerolatency/identity';
import type { CredentialIssuer } from '../../registrar/enrolments.ts';

export interface CredentialIssuerOptions {
  readonly issuerKey: KeyObject | RemoteKey;
  readonly issuer: string;
  readonly lifetimeMs: number;
  /** The time of issue that a credential of this device states now. */
  readonly issueMs: (device: DeviceIdentity) => Promise<number>;
}

export function credentialIssuer(options: CredentialIssuerOptions): CredentialIssuer {
  const { issuerKey, issuer, lifetimeMs: validForMs, issueMs } = options;
  return {
    issue: async (device, devicePublicKey) => {
      const nowMs = await issueMs(device);
      const request = { device, devicePublicKey, issuer, issuerKey, nowMs, validForMs };
      const credential = await issueDeviceCredential(request);
      return { credential, expiresAtMs: nowMs + validForMs };
    },
  };
}

/** A key that others can read is refused. */
export async function readPrivateKey(file: string, setting: string): Promise<KeyObject> {
  const unusable = (why: string, cause?: unknown) =>
    new ZlError('config.invalid', `${setting}: ${file} ${why}`, { cause });
  const { mode } = await stat(file).catch((cause: unknown) => {
    throw unusable('cannot be read', cause);
  });
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw unusable('can be read by others; run "chmod 600" on it');
  }
  try {
    const key = createPrivateKey(await readFile(file, 'utf8'));
    if (algorithmOf(key) !== undefined) return key;
  } catch (cause) {
    throw unusable('is not a private key', cause);
  }
  throw unusable('is not a key of Ed25519, P-256 or RSA of 2048 bits');
}
