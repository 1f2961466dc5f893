export { certificateExpirySeconds } from './certificate-expiry.ts';
export { certificateName, peerName } from './certificate-name.ts';
export { clientTlsOptions, reloadServerTls, serverTlsOptions } from './node-options.ts';
export { signPeerToken } from './peer-token-sign.ts';
export { type Peer, verifyPeerToken } from './peer-token-verify.ts';
export { ReplayGuard } from './replay-guard.ts';
export type { TlsFiles, TlsMaterial } from './tls-material.ts';
export { type TlsLog, type TlsWatch, type TlsWatchOptions, watchTls } from './watch-tls.ts';
