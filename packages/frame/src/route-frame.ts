import { callKeyAt } from './call-key.ts';
import { decodeFrame } from './decode-frame.ts';
import { encodeFrame } from './encode-frame.ts';
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

/**
 * What a router needs, read at constant offsets from a frame that
 * isCanonical() has accepted, without decoding it.
 */
export function isCanonical(bytes: Uint8Array): boolean {
  return payloadStart(bytes) !== 0;
}

export function kindOf(canonical: Uint8Array): number {
  return readUint32(canonical, KIND_TAG + 1);
}

export function deviceOf(canonical: Uint8Array): number {
  return readUint32(canonical, DEVICE_TAG + 1);
}

/** -1 for an epoch beyond 2^53 - 1, which no relay ever gave. */
export function epochOf(canonical: Uint8Array): number {
  return readUint53(canonical, EPOCH_TAG + 1);
}

/** -1 for an offset beyond 2^53 - 1, which no decoder of ours takes. */
export function offsetOf(canonical: Uint8Array): number {
  return readUint53(canonical, OFFSET_TAG + 1);
}

export function callKeyOf(canonical: Uint8Array): string {
  return callKeyAt(canonical, CALL_ID_START);
}

/**
 * The same frame for another device handle and, when given, of another epoch.
 * A canonical frame is rewritten in place, so the caller must own the bytes;
 * any other becomes a new, canonical one. Undefined when it is no frame.
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

/** As rewriteDevice, leaving the given bytes as they are. */
export function copyForDevice(
  bytes: Uint8Array,
  device: number,
  epoch?: number,
): Uint8Array | undefined {
  return rewriteDevice(isCanonical(bytes) ? Buffer.from(bytes) : bytes, device, epoch);
}
