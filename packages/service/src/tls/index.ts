export { clientTlsOptions, reloadServerTls, serverTlsOptions } from './node-options.ts';
export { parseCertificates, type TlsFiles, type TlsMaterial } from './tls-material.ts';
export {
  exposeCertificate,
  type TlsLog,
  type TlsWatch,
  type TlsWatchOptions,
  watchTls,
} from './watch-tls.ts';
