export {
  type Envelope,
  type EnvelopeSignature,
  preAuthenticationEncoding,
  sealEnvelope,
  signEnvelope,
} from './envelope.ts';
export {
  generateKeyPair,
  type KeyPair,
  type Signer,
  signerFromJwk,
  signerFromPem,
  type Verifier,
  verifierFromJwk,
  verifierFromPem,
} from './keys.ts';
export {
  type Checkpoint,
  type CheckpointVerdict,
  noteVerifierKey,
  verifyCheckpoint,
} from './ledger/checkpoint.ts';
export type { OpenSegmentFile, SegmentFile } from './ledger/commit-queue.ts';
export type { Appended, Ledger } from './ledger/ledger.ts';
export type { LedgerObserver } from './ledger/ledger-observer.ts';
export type { LedgerOptions } from './ledger/ledger-options.ts';
export { openLedger } from './ledger/open-ledger.ts';
export { type LedgerRow, peekReceipt, readLedger } from './ledger/read-ledger.ts';
export { receiptCheck } from './ledger/receipt-check.ts';
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
} from './ledger/record.ts';
export {
  type BadRecord,
  type LedgerReport,
  type VerifyLedgerOptions,
  verifyLedger,
} from './ledger/verify-ledger.ts';
export {
  RECEIPT_TYPE,
  type Receipt,
  type ReceiptCaps,
  type ReceiptOutcome,
  signReceipt,
} from './receipt.ts';
export {
  type EnvelopeError,
  type EnvelopeFault,
  type EnvelopeRules,
  type EnvelopeVerdict,
  MAX_ENVELOPE_BYTES,
  type VerifiedEnvelope,
  verifyEnvelope,
} from './verify-envelope.ts';
export {
  type ReceiptVerdict,
  receiptsDiffer,
  type VerifiedReceipt,
  verifyDeviceReceipt,
  verifyReceipt,
} from './verify-receipt.ts';
