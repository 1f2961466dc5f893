export { FrameKind } from '@zerolatency/proto/frame';
export { callIdFromKey, callKey } from './call-key.ts';
export { type DecodedFrame, decodeFrame } from './decode-frame.ts';
export { encodeFrame } from './encode-frame.ts';
export {
  CALL_ID_BYTES,
  FRAME_OVERHEAD_BYTES,
  type Frame,
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
