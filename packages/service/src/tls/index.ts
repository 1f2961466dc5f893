export { clientTlsOptions, reloadServerTls, serverTlsOptions } from './node-options.ts';
export { parseCertificates, type TlsFiles, type TlsMaterial } from './tls-material.ts';
export { exposeCertificate, type TlsWatch, watchTls } from './watch-tls.ts';
