import { type ErrorId, ZlError } from '@zerolatency/errors';
import { readJson } from './read-input.ts';

/** As written by a person, or the payload of an envelope (whose signature is not looked at). */
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
