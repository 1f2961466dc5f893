import type { KeyObject } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { makeFolder, writeAtomically } from '@zerolatency/service/files';
import { verifierFromPem } from '@zerolatency/signing';
import type { RegistrarConfig } from '../../config.ts';
import type { DeviceFiles } from '../../registrar/enrolments.ts';

type Settings = RegistrarConfig['registrar']['devices'];

/** What an enrolled device gets beside its credential, as the files are now. */
export async function readDeviceFiles(devices: Settings): Promise<DeviceFiles> {
  const { relayUrls, relayCaFile, policy, manifest } = devices;
  return {
    relayUrls,
    relayCaPem: await read(relayCaFile, 'relayCaFile'),
    policy: await readSigned(policy, 'policy'),
    manifest: await readSigned(manifest, 'manifest'),
  };
}

/** In a file named by the id of the key. Empty: nowhere. */
export async function keepPublicKey(dir: string, key: KeyObject): Promise<void> {
  if (dir === '') return;
  const pem = key.export({ type: 'spki', format: 'pem' }).toString();
  await makeFolder(dir);
  await writeAtomically(join(dir, `${verifierFromPem(pem).keyid}.pem`), pem);
}

async function readSigned({ file, keysDir }: Settings['policy'], setting: string) {
  const names = await readdir(keysDir).catch((cause: unknown) => {
    throw unreadable(keysDir, `${setting}.keysDir`, cause);
  });
  const keys = names.filter((name) => name.endsWith('.pem')).sort();
  const publicKeysPem = await Promise.all(
    keys.map((name) => read(join(keysDir, name), `${setting}.keysDir`)),
  );
  return { envelope: await read(file, `${setting}.file`), publicKeysPem };
}

async function read(path: string, setting: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw unreadable(path, setting, cause);
  });
}

function unreadable(path: string, setting: string, cause: unknown): ZlError {
  const message = `registrar.devices.${setting}: ${path} cannot be read`;
  return new ZlError('config.invalid', message, { cause });
}
