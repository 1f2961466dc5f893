export { certificateName, peerName } from './certificate-name.ts';
export { signPeerToken } from './peer-token-sign.ts';
export { type Peer, verifyPeerToken } from './peer-token-verify.ts';
export { ReplayGuard } from './replay-guard.ts';
