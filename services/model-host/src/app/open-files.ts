import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';
import { resolveSecret, type SecretRef } from '@zerolatency/service/config';
import { watchFiles } from '@zerolatency/service/files';
import { type Signer, signerFromPem } from '@zerolatency/signing';
import type { JSONWebKeySet } from 'jose';
import { defaultScriptFile } from '../adapters/mock-provider/default-script.ts';
import { parseScript } from '../adapters/mock-provider/parse-script.ts';
import type { Script } from '../adapters/mock-provider/script.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The contracts that come with the host: beside a bundle, or where the project keeps them. */
export const defaultContractsDir = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../../../contracts/tools' : 'contracts/tools',
    import.meta.url,
  ),
);

export async function openScript(configured: string): Promise<Script> {
  const file = configured || defaultScriptFile;
  return parseScript(await readText(file, 'providers.mock.scriptFile'), file);
}

export async function openSigner(key: SecretRef, env: Env): Promise<Signer> {
  const read = (path: string) => readFile(path, 'utf8');
  return signerFromPem(await resolveSecret(key, { env, readFile: read }));
}

export interface DeviceKeys {
  current(): JSONWebKeySet;
  close(): void;
}

/** The enrolment authority's key set, read again when it changes. */
export async function openDeviceKeys(
  file: string,
  log: { warn(fields: object, message: string): void },
): Promise<DeviceKeys> {
  let keys = parseKeys(await readText(file, 'relay.deviceKeysFile'), file);
  const watch = watchFiles({
    pollMs: 1000,
    files: async () => [file],
    onChange: (contents) => {
      keys = parseKeys(contents.get(file)?.toString() ?? '', file);
    },
    onError: (err) => log.warn({ err, file }, 'device key set kept, the new one is unusable'),
  });
  return { current: () => keys, close: () => watch.close() };
}

function parseKeys(text: string, file: string): JSONWebKeySet {
  try {
    const value: unknown = JSON.parse(text);
    if (isKeySet(value)) return value;
  } catch {
    // Told below, the same for anything that is not a key set.
  }
  throw new ZlError('config.invalid', `relay.deviceKeysFile ${file} is not a JSON Web Key Set`);
}

function isKeySet(value: unknown): value is JSONWebKeySet {
  return (
    typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys)
  );
}

async function readText(file: string, setting: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ZlError('config.invalid', `${setting}: ${file} cannot be read`, { cause });
  }
}
