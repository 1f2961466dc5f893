import { ZlError } from '@zerolatency/errors';
import { type Signer, signerFromPem } from '@zerolatency/signing';
import { readCredential, readDeviceKey } from '../adapters/credential/read-credential.ts';
import type { Device } from '../calls/runner.ts';
import type { BridgeConfig } from '../config.ts';
import type { DeviceCredentials } from '../connection/state.ts';

export interface OpenedDevice extends Device {
  readonly signer: Signer;
  /** Reads the credential from its file each time. */
  loadIdentity(): Promise<DeviceCredentials>;
}

export async function openDevice({ credentialFile, keyFile }: BridgeConfig['device']) {
  const { deviceId: id, tenant } = await readCredential(credentialFile);
  const { pem, key } = await readDeviceKey(keyFile);
  const loadIdentity = async () => {
    const now = await readCredential(credentialFile);
    // Receipts and decisions name the device that the bridge started as.
    if (now.deviceId === id && now.tenant === tenant) return { credential: now.text, key };
    const found = `${now.deviceId} of ${now.tenant}`;
    const message = `${credentialFile} now names ${found}: restart the bridge to become that device`;
    throw new ZlError('device.credential_invalid', message);
  };
  return { id, tenant, signer: signerFromPem(pem), loadIdentity } satisfies OpenedDevice;
}
