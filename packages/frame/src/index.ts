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
  REDIRECT_FEATURE,
  RENEWAL_FEATURE,
  setDevice,
  WITNESS_FEATURE,
} from './frame.ts';
export {
  encodeRecord,
  RECORD_OVERHEAD_BYTES,
  type ReadRecords,
  RecordReader,
  STREAM_CONTENT_TYPE,
  STREAM_ID_HEADER,
  STREAM_SEQUENCE_HEADER,
} from './stream-records.ts';
