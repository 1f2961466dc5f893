export type { Unchecked } from './call-history.ts';
export {
  type Checkpoint,
  type CheckpointVerdict,
  claimedCheckpoint,
  verifyCheckpoint,
} from './checkpoint.ts';
export type { LedgerObserver } from './commit-queue.ts';
export { exportLedger } from './export.ts';
export { type LedgerDisk, type SegmentFile, sourceOf } from './file-store.ts';
export {
  type Appended,
  type Ledger,
  type LedgerOptions,
  openLedger,
  openLedgerIn,
  type WriterOptions,
} from './ledger.ts';
export { checkConsistency, checkInclusion, type ProofVerdict, parseProof } from './proof.ts';
export { proveConsistency, proveInclusion } from './prove.ts';
export { type LedgerRow, peekReceipt, readLedger, segmentStarts } from './read.ts';
export type {
  LedgerEntry,
  LedgerRecord,
  OpenIntent,
  RecordBodies,
  RecordKind,
} from './record.ts';
export { encodeRecord, recordLeafHash } from './record.ts';
export type { LedgerSource, LedgerStore, StoredRecord, WriterLock } from './store.ts';
export {
  type BadRecord,
  type LedgerReport,
  type VerifyLedgerOptions,
  verifyLedger,
} from './verify.ts';
