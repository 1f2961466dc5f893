import { ZlError } from '@zerolatency/errors';
import type { JsonSchema } from './schema.ts';

/** Where a secret is; never the secret. */
export type SecretRef = { readonly file: string } | { readonly env: string };

/** Put it where a setting is a secret. */
export const SECRET_REF_SCHEMA = {
  type: 'object',
  properties: {
    file: { type: 'string', minLength: 1 },
    env: { type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_]*$' },
  },
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
} as const satisfies JsonSchema;

export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => Promise<string>;
}

/** Without the line end that editors put behind it. */
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
