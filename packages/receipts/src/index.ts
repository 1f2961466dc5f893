export {
  ARGUMENT_SALT_BYTES,
  argumentsDigest,
  newArgumentSalt,
  type Outcome,
  parseReceipt,
  RECEIPT_TYPE,
  type Receipt,
  signReceipt,
} from './receipt.ts';
export {
  type ReceiptVerdict,
  receiptsDiffer,
  type VerifiedReceipt,
  verifyDeviceReceipt,
  verifyReceipt,
} from './verify-receipt.ts';
