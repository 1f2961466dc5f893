export { strictBase64, toBase64 } from './base64.ts';
export { canonicalJson, canonicalText, MAX_VALUE_DEPTH } from './canonical-json.ts';
export { type Digest, digestOf, digestOfBytes, sha256 } from './digest.ts';
export {
  type Envelope,
  type EnvelopeSignature,
  preAuthenticationEncoding,
  sealEnvelope,
  signEnvelope,
} from './envelope.ts';
export {
  generateKeyPair,
  type KeyAlgorithm,
  type KeyPair,
  type Signer,
  signerFromJwk,
  signerFromPem,
  type Verifier,
  verifierFromJwk,
  verifierFromPem,
} from './keys.ts';
export {
  type EnvelopeError,
  type EnvelopeFault,
  type EnvelopeRules,
  type EnvelopeVerdict,
  MAX_ENVELOPE_BYTES,
  type VerifiedEnvelope,
  verifyEnvelope,
} from './verify-envelope.ts';
export { withoutUnset } from './without-unset.ts';
