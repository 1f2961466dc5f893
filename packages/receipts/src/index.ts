export { argumentsDigest, newArgumentSalt } from './arguments-digest.ts';
export {
  faultBetween,
  newerReceiptVersion,
  type Outcome,
  parseReceipt,
  RECEIPT_TYPE,
  type Receipt,
  type ReceiptVerdict,
  receiptsDiffer,
  signReceipt,
  type VerifiedReceipt,
  verifyDeviceReceipt,
  verifyReceipt,
} from './receipt.ts';
