import { ZlError } from '@zerolatency/errors';

/** Where a secret is; never the secret. */
export type SecretRef = { readonly file: string } | { readonly env: string };

export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => Promise<string>;
}

/** Returns the secret without the newline that editors append. */
export async function resolveSecret(
  ref: SecretRef,
  { env, readFile }: SecretSources,
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
    throw new ZlError('config.invalid', `the secret file ${path} cannot be read`, { cause });
  }
}
