export { FrameKind } from '@zerolatency/proto/frame';
export { type DecodedFrame, decodeFrame, encodeFrame, readMessage } from './codec.ts';
export {
  callIdFromKey,
  callKey,
  callKeyOf,
  deviceOf,
  epochOf,
  FEATURES,
  type Frame,
  HOSTS_FEATURE,
  isCanonical,
  isKnownKind,
  JOURNAL_CLOCK_FEATURE,
  kindOf,
  MAX_FRAME_BYTES,
  NO_CALL,
  NO_PAYLOAD,
  offsetOf,
  PROGRESS_FEATURE,
  RENEWAL_FEATURE,
  setDevice,
  WITNESS_FEATURE,
} from './frame.ts';
