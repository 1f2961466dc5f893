import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { ZlError } from '@zerolatency/errors';
import {
  CALL_ID_BYTES,
  CALL_ID_START,
  CALL_ID_TAG,
  DEVICE_TAG,
  EPOCH_TAG,
  FLAGS_TAG,
  type Frame,
  KIND_TAG,
  LENGTH_START,
  MAX_FRAME_BYTES,
  NO_CALL,
  NO_PAYLOAD,
  OFFSET_TAG,
  PAYLOAD_TAG,
  payloadStart,
  readUint32,
  readUint53,
  writeUint32,
  writeUint53,
} from './frame.ts';

/** The canonical encoding. Byte for byte what the generated codec writes. */
export function encodeFrame(frame: Frame): Uint8Array {
  const { callId, payload } = frame;
  if (callId.length !== CALL_ID_BYTES) throw new RangeError('a call id must have 16 bytes');
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

export type DecodedFrame =
  | { readonly frame: Frame; readonly error?: undefined }
  | { readonly frame?: undefined; readonly error: ZlError };

/** Never throws. A frame that is valid protobuf but not canonical is read as any strict decoder would. */
export function decodeFrame(bytes: Uint8Array, maxFrameBytes = MAX_FRAME_BYTES): DecodedFrame {
  if (bytes.length > maxFrameBytes) {
    const message = `a frame of ${bytes.length} bytes exceeds the limit of ${maxFrameBytes}`;
    return { error: new ZlError('frame.too_large', message) };
  }
  const start = payloadStart(bytes);
  return start === 0 ? decodeAny(bytes) : decodeCanonical(bytes, start);
}

function decodeCanonical(bytes: Uint8Array, start: number): DecodedFrame {
  const offset = readUint53(bytes, OFFSET_TAG + 1);
  const epoch = readUint53(bytes, EPOCH_TAG + 1);
  if (offset < 0 || epoch < 0) return malformed('offset or epoch exceeds 2^53 - 1');
  return {
    frame: {
      kind: readUint32(bytes, KIND_TAG + 1),
      flags: readUint32(bytes, FLAGS_TAG + 1),
      device: readUint32(bytes, DEVICE_TAG + 1),
      callId: bytes.subarray(CALL_ID_START, CALL_ID_START + CALL_ID_BYTES),
      offset,
      epoch,
      payload: bytes.subarray(start),
    },
  };
}

function decodeAny(bytes: Uint8Array): DecodedFrame {
  const frame = readFields(bytes);
  if (frame === undefined) return malformed('the message is not a protobuf frame');
  if (frame.callId.length !== CALL_ID_BYTES) return malformed('call_id must have 16 bytes');
  if (frame.offset > Number.MAX_SAFE_INTEGER || frame.epoch > Number.MAX_SAFE_INTEGER) {
    return malformed('offset or epoch exceeds 2^53 - 1');
  }
  return { frame };
}

const WIRE_TYPES: readonly (WireType | undefined)[] = [
  undefined,
  WireType.Bit32,
  WireType.Bit32,
  WireType.Bit32,
  WireType.LengthDelimited,
  WireType.Bit64,
  WireType.Bit64,
  WireType.LengthDelimited,
];

/** A known field of a wrong wire type is malformed: decoders differ in what they find in its bytes (ADR 1). */
function readFields(bytes: Uint8Array): Frame | undefined {
  const frame = { kind: 0, flags: 0, device: 0, offset: 0, epoch: 0 };
  let callId = NO_CALL;
  let payload = NO_PAYLOAD;
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      const known = WIRE_TYPES[number];
      if (known !== undefined && known !== wireType) return undefined;
      if (number === 1) frame.kind = reader.fixed32();
      else if (number === 2) frame.flags = reader.fixed32();
      else if (number === 3) frame.device = reader.fixed32();
      else if (number === 4) callId = reader.bytes();
      else if (number === 5) frame.offset = Number(reader.fixed64());
      else if (number === 6) frame.epoch = Number(reader.fixed64());
      else if (number === 7) payload = reader.bytes();
      else reader.skip(wireType, number);
    }
  } catch {
    // The reader throws on malformed input from a peer.
    return undefined;
  }
  return { ...frame, callId: callId.length === 0 ? NO_CALL : callId, payload };
}

/** Returns undefined for malformed bytes: a peer may send anything. */
export function readMessage<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch {
    // The generated codec throws on malformed input from a peer.
    return undefined;
  }
}

function malformed(message: string): DecodedFrame {
  return { error: new ZlError('frame.malformed', message) };
}
