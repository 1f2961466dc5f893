import { readFile, stat } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';

/** Where a secret is; never the secret. */
export type SecretRef = { readonly file: string } | { readonly env: string };

export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile?: (path: string) => Promise<string>;
}

/** Keys and passwords are far smaller; it bounds what a wrong path costs. */
const MAX_SECRET_BYTES = 64 * 1024;

/** Returns the secret without the newline that editors append. */
export async function resolveSecret(
  ref: SecretRef,
  { env, readFile = readSecretFile }: SecretSources,
): Promise<string> {
  const secret = 'file' in ref ? await fromFile(ref.file, readFile) : env[ref.env];
  const text = secret?.replace(/\r?\n$/, '') ?? '';
  if (text === '') {
    const where = 'file' in ref ? `file ${ref.file}` : `environment variable ${ref.env}`;
    throw new ZlError('config.invalid', `the secret in ${where} is missing or empty`);
  }
  return text;
}

async function fromFile(
  path: string,
  readFile: (path: string) => Promise<string>,
): Promise<string> {
  try {
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof ZlError) throw cause;
    throw new ZlError('config.invalid', `the secret file ${path} cannot be read`, { cause });
  }
}

async function readSecretFile(path: string): Promise<string> {
  const found = await stat(path);
  if (!found.isFile()) throw new ZlError('config.invalid', `${path} is not a regular file`);
  if (found.size > MAX_SECRET_BYTES) {
    const why = `the secret file ${path} is larger than ${MAX_SECRET_BYTES} bytes`;
    throw new ZlError('config.invalid', why);
  }
  return await readFile(path, 'utf8');
}
