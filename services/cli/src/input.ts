import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ErrorId, ZlError } from '@zerolatency/errors';

/** A file that a user named, or that an installation should have. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ZlError('file.unusable', `cannot read ${path}: ${causeOf(cause)}`, { cause });
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
  const code = 'code' in reason ? reason.code : undefined;
  if (code === 'EISDIR') return 'it is a folder';
  return code === 'ENOENT' ? 'no such file' : reason.message;
}

/** A plain document, or the payload of an envelope, whose signature is not checked. */
export async function readDocument(file: string, id: ErrorId): Promise<unknown> {
  const value = await readJson(file, id);
  if (!isEnvelope(value)) return value;
  try {
    return JSON.parse(Buffer.from(value.payload, 'base64').toString('utf8'));
  } catch (cause) {
    throw new ZlError(id, `the payload of ${file} is not JSON`, { cause });
  }
}

function isEnvelope(value: unknown): value is { readonly payload: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'payload' in value &&
    typeof value.payload === 'string'
  );
}

/** The PEM files of a folder, or a single one. */
export async function readKeys(path: string): Promise<string[]> {
  if (path.endsWith('.pem')) return [await readText(path)];
  const names = await readdir(path).catch((cause: unknown) => {
    throw new ZlError('config.invalid', `${path} is neither a .pem file nor a folder of them`, {
      cause,
    });
  });
  const files = names.filter((name) => name.endsWith('.pem')).sort();
  if (files.length === 0) throw new ZlError('config.invalid', `${path} contains no *.pem file`);
  return await Promise.all(files.map((name) => readText(join(path, name))));
}
