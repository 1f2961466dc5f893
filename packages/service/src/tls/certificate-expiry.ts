import { X509Certificate } from 'node:crypto';

/** When the first certificate of the PEM text expires, as Unix time. */
export function certificateExpirySeconds(pem: string): number {
  return new X509Certificate(pem).validToDate.getTime() / 1000;
}
