import { decodeFrame, encodeFrame } from './codec.ts';
import { callKeyAt } from './frame.ts';
import {
  CALL_ID_START,
  DEVICE_TAG,
  EPOCH_TAG,
  KIND_TAG,
  OFFSET_TAG,
  payloadStart,
  readUint32,
  readUint53,
  writeUint32,
  writeUint53,
} from './layout.ts';

// A router reads these fields at constant offsets, without decoding the frame.
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

/**
 * Sets the device handle and, when given, the epoch. Rewrites a canonical frame
 * in place, so the caller must own the bytes; encodes any other frame anew.
 * Returns undefined when the bytes are not a frame.
 */
export function rewriteDevice(
  bytes: Uint8Array,
  device: number,
  epoch?: number,
): Uint8Array | undefined {
  if (isCanonical(bytes)) {
    writeUint32(bytes, DEVICE_TAG + 1, device);
    if (epoch !== undefined) writeUint53(bytes, EPOCH_TAG + 1, epoch);
    return bytes;
  }
  const { frame } = decodeFrame(bytes, Number.POSITIVE_INFINITY);
  return frame && encodeFrame({ ...frame, device, epoch: epoch ?? frame.epoch });
}

/** As rewriteDevice, but never changes the given bytes. */
export function copyForDevice(
  bytes: Uint8Array,
  device: number,
  epoch?: number,
): Uint8Array | undefined {
  return rewriteDevice(isCanonical(bytes) ? Buffer.from(bytes) : bytes, device, epoch);
}
