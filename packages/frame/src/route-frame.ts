import {
  CALL_ID_START,
  callKeyAt,
  DEVICE_TAG,
  EPOCH_TAG,
  KIND_TAG,
  OFFSET_TAG,
  payloadStart,
  readUint32,
  readUint53,
  writeUint32,
} from './frame.ts';

// A router reads and sets these fields at constant offsets, without decoding the frame.
// Only isCanonical() takes any bytes; the others need bytes it has accepted.

export function isCanonical(bytes: Uint8Array): boolean {
  return payloadStart(bytes) !== 0;
}

export function kindOf(canonical: Uint8Array): number {
  return readUint32(canonical, KIND_TAG + 1);
}

export function deviceOf(canonical: Uint8Array): number {
  return readUint32(canonical, DEVICE_TAG + 1);
}

/** -1 for an epoch beyond 2^53 - 1, which no relay issues. */
export function epochOf(canonical: Uint8Array): number {
  return readUint53(canonical, EPOCH_TAG + 1);
}

/** -1 for an offset beyond 2^53 - 1, which decodeFrame() refuses. */
export function offsetOf(canonical: Uint8Array): number {
  return readUint53(canonical, OFFSET_TAG + 1);
}

export function callKeyOf(canonical: Uint8Array): string {
  return callKeyAt(canonical, CALL_ID_START);
}

/** Writes to the given bytes, which the caller must own. */
export function setDevice(canonical: Uint8Array, device: number): void {
  writeUint32(canonical, DEVICE_TAG + 1, device);
}
