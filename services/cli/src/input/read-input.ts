import { readFile } from 'node:fs/promises';
import { type ErrorId, ZlError } from '@zerolatency/errors';

/** A file that a user named, or that an installation should have. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ZlError('config.invalid', `cannot read ${path}: ${causeOf(cause)}`, { cause });
  }
}

/** Without a certificate in the file, TLS would trust every public authority. */
export async function readAuthorities(path: string): Promise<string> {
  const text = await readText(path);
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new ZlError('config.invalid', `${path} contains no PEM certificate`);
}

/** Throws an error with the given id when the file is not JSON. */
export async function readJson(path: string, id: ErrorId): Promise<unknown> {
  const text = await readText(path);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ZlError(id, `${path} is not JSON: ${causeOf(cause)}`, { cause });
  }
}

function causeOf(reason: unknown): string {
  if (!(reason instanceof Error)) return String(reason);
  return 'code' in reason && reason.code === 'ENOENT' ? 'no such file' : reason.message;
}
