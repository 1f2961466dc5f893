import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { algorithmOf, type DeviceIdentity, readDeviceCredential } from '@zerolatency/identity';

export interface Credential extends DeviceIdentity {
  readonly text: string;
  readonly expiresAtMs: number | undefined;
}

export async function readCredential(path: string): Promise<Credential> {
  const text = (await readOrThrow(path, 'credential')).trim();
  const { value, error, cause } = readDeviceCredential(text);
  if (error === undefined) return { ...value, text };
  const message = `${path} is not a device credential: ${error}`;
  throw new ZlError('device.credential_invalid', message, { cause });
}

export interface DeviceKey {
  readonly pem: string;
  readonly key: KeyObject;
}

export async function readDeviceKey(path: string): Promise<DeviceKey> {
  const pem = await readOrThrow(path, 'key');
  try {
    const key = createPrivateKey(pem);
    const algorithm = algorithmOf(key);
    if (algorithm === 'EdDSA' || algorithm === 'ES256') return { pem, key };
  } catch {
    // Not a private key at all: the same error.
  }
  const message = `${path} is not an Ed25519 or P-256 private key`;
  throw new ZlError('device.credential_invalid', message);
}

async function readOrThrow(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const message = `the device ${what} ${path} cannot be read`;
    throw new ZlError('device.credential_invalid', message, { cause });
  }
}
