export { argumentsDigest, newArgumentSalt } from './arguments-digest.ts';
export {
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
