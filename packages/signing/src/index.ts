export {
  canonicalJson,
  canonicalText,
  type Digest,
  digestOf,
  digestOfBytes,
  MAX_VALUE_DEPTH,
  sha256,
} from './canonical-json.ts';
export {
  type Floor,
  type FloorMark,
  type FloorPort,
  memoryFloor,
  openFloorFile,
} from './document-floor.ts';
export {
  DocumentHolder,
  type DocumentHolderOptions,
  type DocumentState,
  type Offer,
} from './document-holder.ts';
export {
  type Envelope,
  sealEnvelope,
  signEnvelope,
  strictBase64,
  toBase64,
  verifyEnvelope,
} from './envelope.ts';
export {
  generateKeyPair,
  type KeyAlgorithm,
  type KeyPair,
  type Signer,
  signerFromPem,
  type Verifier,
  verifierFromJwk,
  verifierFromPem,
} from './keys.ts';
export {
  ageOf,
  checkDocument,
  type DocumentHead,
  type DocumentKind,
  type DocumentRefusal,
  documentName,
  openDocument,
  REFUSAL_REASONS,
  type RefusalReason,
  type SignedDocument,
  signDocument,
  verifyDocument,
} from './signed-document.ts';
export {
  type DocumentWatch,
  watchDocument,
} from './watch-document.ts';
export { withoutUnset } from './without-unset.ts';
