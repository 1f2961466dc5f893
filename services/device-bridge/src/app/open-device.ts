import { ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import { type Signer, signerFromPem } from '@zerolatency/signing';
import type { Device } from '../calls/device-receipt.ts';
import type { BridgeConfig } from '../config.ts';
import { readCredential, readDeviceKey } from '../connection/credential.ts';
import type { DeviceIdentity } from '../connection/hello.ts';
import type { Log } from '../ports.ts';

export interface OpenedDevice extends Device {
  readonly signer: Signer;
  /** With the credential as it is in its file now. */
  loadIdentity(): Promise<DeviceIdentity>;
}

export async function openDevice({ credentialFile, keyFile }: BridgeConfig['device']) {
  const { deviceId: id, tenant } = await readCredential(credentialFile);
  const { pem, key } = await readDeviceKey(keyFile);
  const loadIdentity = async () => {
    const now = await readCredential(credentialFile);
    // Receipts and decisions name the device of the start.
    if (now.deviceId === id && now.tenant === tenant) return { credential: now.text, key };
    const found = `${now.deviceId} of ${now.tenant}`;
    const message = `${credentialFile} is now of ${found}: restart the bridge to be that device`;
    throw new ZlError('device.credential_invalid', message);
  };
  return { id, tenant, signer: signerFromPem(pem), loadIdentity } satisfies OpenedDevice;
}

const pollMs = 1_000;

/** What a connection is made with: the authorities now, and word of anything that changes. */
export async function watchTrust(
  { relay, device }: Pick<BridgeConfig, 'relay' | 'device'>,
  { log, onChange }: { readonly log: Log; readonly onChange: () => void },
) {
  let ca = '';
  const watch = watchFiles({
    files: async () => [relay.caFile, device.credentialFile],
    pollMs,
    onChange: (contents) => {
      ca = contents.get(relay.caFile)?.toString('utf8') ?? '';
      onChange();
    },
    onError: (reason) => log.warn({ why: String(reason) }, 'the trust files cannot be read'),
  });
  await watch.check();
  return { ca: () => ca, close: () => watch.close() };
}
