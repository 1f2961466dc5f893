export { argumentsDigest, newArgumentSalt } from './arguments-digest.ts';
export {
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
