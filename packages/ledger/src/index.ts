export {
  type Checkpoint,
  type CheckpointVerdict,
  noteVerifierKey,
  verifyCheckpoint,
} from './checkpoint.ts';
export type { OpenSegmentFile, SegmentFile } from './commit-queue.ts';
export type { Appended, Ledger } from './ledger.ts';
export type { LedgerObserver } from './ledger-observer.ts';
export type { LedgerOptions } from './ledger-options.ts';
export { openLedger } from './open-ledger.ts';
export { type LedgerRow, peekReceipt, readLedger } from './read-ledger.ts';
export { receiptCheck } from './receipt-check.ts';
export type {
  CallIntent,
  HostChange,
  LedgerEntry,
  LedgerRecord,
  OpenIntent,
  PolicyChange,
  PolicyDenial,
  RecordBodies,
  RecordKind,
  SegmentStart,
  TurnSummary,
} from './record.ts';
export {
  type BadRecord,
  type LedgerReport,
  type VerifyLedgerOptions,
  verifyLedger,
} from './verify-ledger.ts';
