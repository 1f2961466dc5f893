import { CALL_ID_BYTES } from './frame.ts';

/** The printable form of a call id, 32 hexadecimal digits, which is also its key in maps. */
export function callKey(callId: Uint8Array): string {
  return callKeyAt(callId, 0);
}

/** The key of the call id that starts at `start`, without a view of its own. */
export function callKeyAt(bytes: Uint8Array, start: number): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('hex', start, start + CALL_ID_BYTES);
}

export function callIdFromKey(key: string): Uint8Array {
  return Buffer.from(key, 'hex');
}
