export { FrameKind } from '@zerolatency/proto/frame';
export { type DecodedFrame, decodeFrame, encodeFrame } from './codec.ts';
export {
  CALL_ID_BYTES,
  callIdFromKey,
  callKey,
  FEATURES,
  FRAME_OVERHEAD_BYTES,
  type Frame,
  isKnownKind,
  MAX_FRAME_BYTES,
  MAX_PAYLOAD_BYTES,
  NO_CALL,
  NO_PAYLOAD,
} from './frame.ts';
export {
  callKeyOf,
  copyForDevice,
  deviceOf,
  epochOf,
  isCanonical,
  kindOf,
  offsetOf,
  rewriteDevice,
} from './route-frame.ts';
