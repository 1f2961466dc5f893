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
