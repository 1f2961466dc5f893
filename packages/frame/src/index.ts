export { FrameKind } from '@zerolatency/proto/frame';
export { type DecodedFrame, decodeFrame, encodeFrame, readMessage } from './codec.ts';
export {
  callIdFromKey,
  callKey,
  FEATURES,
  type Frame,
  isKnownKind,
  MAX_FRAME_BYTES,
  NO_CALL,
  NO_PAYLOAD,
  PROGRESS_FEATURE,
} from './frame.ts';
export {
  callKeyOf,
  deviceOf,
  epochOf,
  isCanonical,
  kindOf,
  offsetOf,
  setDevice,
} from './route-frame.ts';
