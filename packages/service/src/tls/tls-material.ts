import { X509Certificate } from 'node:crypto';

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** PEM texts. */
export interface TlsMaterial {
  /** The leaf first, then any intermediates. */
  readonly cert: string;
  readonly key: string;
  /** One or more roots. */
  readonly ca: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in its order. Throws where one cannot be read. */
export function parseCertificates(pem: string): X509Certificate[] {
  return (pem.match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
}
