import { CALL_ID_BYTES, type Frame } from './frame.ts';
import {
  CALL_ID_START,
  CALL_ID_TAG,
  DEVICE_TAG,
  EPOCH_TAG,
  FLAGS_TAG,
  KIND_TAG,
  LENGTH_START,
  OFFSET_TAG,
  PAYLOAD_TAG,
  writeUint32,
  writeUint53,
} from './layout.ts';

/** The canonical encoding. Byte for byte what the generated codec writes. */
export function encodeFrame(frame: Frame): Uint8Array {
  const { callId, payload } = frame;
  if (callId.length !== CALL_ID_BYTES) throw new RangeError('a call id has 16 bytes');
  const start = LENGTH_START + varintBytes(payload.length);
  const bytes = Buffer.allocUnsafe(start + payload.length);
  bytes[KIND_TAG] = 0x0d;
  writeUint32(bytes, KIND_TAG + 1, frame.kind);
  bytes[FLAGS_TAG] = 0x15;
  writeUint32(bytes, FLAGS_TAG + 1, frame.flags);
  bytes[DEVICE_TAG] = 0x1d;
  writeUint32(bytes, DEVICE_TAG + 1, frame.device);
  bytes[CALL_ID_TAG] = 0x22;
  bytes[CALL_ID_TAG + 1] = CALL_ID_BYTES;
  bytes.set(callId, CALL_ID_START);
  bytes[OFFSET_TAG] = 0x29;
  writeUint53(bytes, OFFSET_TAG + 1, frame.offset);
  bytes[EPOCH_TAG] = 0x31;
  writeUint53(bytes, EPOCH_TAG + 1, frame.epoch);
  bytes[PAYLOAD_TAG] = 0x3a;
  writeVarint(bytes, LENGTH_START, payload.length);
  bytes.set(payload, start);
  return bytes;
}

function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x20_0000 ? 3 : 4;
}

function writeVarint(bytes: Uint8Array, start: number, value: number): void {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at] = rest | 0x80;
    rest >>>= 7;
    at += 1;
  }
  bytes[at] = rest;
}
