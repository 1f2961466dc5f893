export {
  parseReceipt,
  RECEIPT_TYPE,
  type Receipt,
  type ReceiptCaps,
  type ReceiptOutcome,
  signReceipt,
} from './receipt.ts';
export {
  type ReceiptVerdict,
  receiptsDiffer,
  type VerifiedReceipt,
  verifyDeviceReceipt,
  verifyReceipt,
} from './verify-receipt.ts';
