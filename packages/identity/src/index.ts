export { type AccessTokenRules, type ClaimNames, verifyAccessToken } from './access-token.ts';
export { clientChainFault } from './certificate-chain.ts';
export {
  type CertificateRule,
  certificateIdentity,
  certificateRule,
} from './certificate-identity.ts';
export { peerName } from './certificate-name.ts';
export {
  enrolledFault,
  HOST_CREDENTIAL_TOLERANCE_S,
  issueDeviceCredential,
  type ProvenDevice,
  possessionFault,
  type RemoteKey,
  readDeviceCredential,
  renewalFault,
  signPossession,
  signRenewal,
  successorFault,
  verifyDeviceCredential,
} from './device-credential.ts';
export {
  createEnrolmentCode,
  enrolmentCodeHash,
  parseEnrolmentCode,
} from './enrolment-code.ts';
export { signEnrolmentProof, verifyEnrolmentProof } from './enrolment-proof.ts';
export { algorithmOf } from './jwt.ts';
export { KeyRing } from './key-ring.ts';
export { type KeySet, type KeySetOptions, watchKeySet } from './key-set.ts';
export { type NameKind, parseName } from './names.ts';
export { type PeerClaims, signPeerToken, verifyPeerToken } from './peer-token.ts';
export type { DeviceIdentity, Identity, ProvenIdentity } from './principal.ts';
export { ReplayGuard } from './replay-guard.ts';
