import { fromBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { FrameSchema } from '@zerolatency/proto/frame';
import { CALL_ID_BYTES, type Frame, MAX_FRAME_BYTES, NO_CALL, NO_PAYLOAD } from './frame.ts';
import {
  CALL_ID_START,
  DEVICE_TAG,
  EPOCH_TAG,
  FLAGS_TAG,
  KIND_TAG,
  OFFSET_TAG,
  payloadStart,
  readUint32,
  readUint53,
} from './layout.ts';

export type DecodedFrame =
  | { readonly frame: Frame; readonly error?: undefined }
  | { readonly frame?: undefined; readonly error: ZlError };

/** Never throws. A frame that is valid protobuf but not canonical is read as any decoder would. */
export function decodeFrame(bytes: Uint8Array, maxFrameBytes = MAX_FRAME_BYTES): DecodedFrame {
  if (bytes.length > maxFrameBytes) {
    const message = `a frame of ${bytes.length} bytes is over the limit of ${maxFrameBytes}`;
    return { error: new ZlError('frame.too_large', message) };
  }
  const start = payloadStart(bytes);
  return start === 0 ? decodeAny(bytes) : decodeCanonical(bytes, start);
}

function decodeCanonical(bytes: Uint8Array, start: number): DecodedFrame {
  const offset = readUint53(bytes, OFFSET_TAG + 1);
  const epoch = readUint53(bytes, EPOCH_TAG + 1);
  if (offset < 0 || epoch < 0) return malformed('offset or epoch is beyond 2^53 - 1');
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
  let message: ReturnType<typeof readMessage>;
  try {
    message = readMessage(bytes);
  } catch (cause) {
    // The generated codec throws on what a peer sent; here that is an answer.
    return malformed('not a protobuf frame', cause);
  }
  const { kind = 0, flags = 0, device = 0, payload = NO_PAYLOAD } = message;
  const callId = message.callId?.length ? message.callId : NO_CALL;
  if (callId.length !== CALL_ID_BYTES) return malformed('call_id has not 16 bytes');
  const offset = Number(message.offset ?? 0n);
  const epoch = Number(message.epoch ?? 0n);
  if (offset > Number.MAX_SAFE_INTEGER || epoch > Number.MAX_SAFE_INTEGER) {
    return malformed('offset or epoch is beyond 2^53 - 1');
  }
  return { frame: { kind, flags, device, callId, offset, epoch, payload } };
}

function readMessage(bytes: Uint8Array) {
  return fromBinary(FrameSchema, bytes, { readUnknownFields: false });
}

function malformed(message: string, cause?: unknown): DecodedFrame {
  return { error: new ZlError('frame.malformed', message, { cause }) };
}
