import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';
import { resolveSecret, type SecretRef } from '@zerolatency/service/config';
import { type Signer, signerFromPem } from '@zerolatency/signing';
import { defaultScriptFile } from '../adapters/mock-provider/default-script.ts';
import { parseScript } from '../adapters/mock-provider/parse-script.ts';
import type { Script } from '../adapters/mock-provider/script.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The contracts that ship with the host: beside the bundle, or in the source tree. */
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

async function readText(file: string, setting: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ZlError('config.invalid', `${setting}: ${file} cannot be read`, { cause });
  }
}
