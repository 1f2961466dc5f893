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
  type EnvelopeError,
  type EnvelopeFault,
  type EnvelopeRules,
  type EnvelopeVerdict,
  MAX_ENVELOPE_BYTES,
  type VerifiedEnvelope,
  verifyEnvelope,
} from './verify-envelope.ts';
