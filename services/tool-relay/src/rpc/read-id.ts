import { ZlError } from '@zerolatency/errors';

/** As long as any id that a credential can hold. */
const MAX_ID_CHARS = 128;

/** Throws request.invalid, naming the field. */
export function readId(value: string, field: string): string {
  if (value.length === 0 || value.length > MAX_ID_CHARS) {
    throw new ZlError('request.invalid', `${field} has between 1 and ${MAX_ID_CHARS} characters`);
  }
  return value;
}
