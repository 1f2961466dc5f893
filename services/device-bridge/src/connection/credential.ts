import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { decodeJwt } from 'jose';

export interface Credential {
  readonly text: string;
  readonly deviceId: string;
  readonly tenant: string;
}

/**
 * Who this device is. Its signature is for relays and hosts to verify: a
 * device that changes its own credential only locks itself out.
 */
export async function readCredential(path: string): Promise<Credential> {
  const text = (await readOrThrow(path, 'credential')).trim();
  try {
    const { sub, tenant } = decodeJwt(text);
    if (typeof sub === 'string' && typeof tenant === 'string' && sub !== '' && tenant !== '') {
      return { text, deviceId: sub, tenant };
    }
  } catch {
    // Not a JWS at all, which is told in the same words.
  }
  throw new ZlError('device.credential_invalid', `${path} is not a device credential`);
}

export interface DeviceKey {
  readonly pem: string;
  readonly key: KeyObject;
}

export async function readDeviceKey(path: string): Promise<DeviceKey> {
  const pem = await readOrThrow(path, 'key');
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return { pem, key };
  } catch {
    // Not a private key at all, which is told in the same words.
  }
  throw new ZlError('device.credential_invalid', `${path} is not an Ed25519 private key`);
}

async function readOrThrow(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const message = `the device ${what} ${path} cannot be read`;
    throw new ZlError('device.credential_invalid', message, { cause });
  }
}
