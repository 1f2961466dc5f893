import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { ZlError } from '@zerolatency/errors';
import { clientTlsOptions } from './node-options.ts';

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

/** Throws config.invalid unless a server or client could start with it now. */
export function checkMaterial(material: TlsMaterial, files: TlsFiles, nowMs: number): void {
  const [leaf] = readCertificates(material.cert, files.certFile);
  if (leaf === undefined) throw invalid(files.certFile, 'holds no PEM certificate');
  if (nowMs >= leaf.validToDate.getTime()) {
    throw invalid(files.certFile, `expired at ${leaf.validToDate.toISOString()}`);
  }
  if (nowMs < leaf.validFromDate.getTime()) {
    throw invalid(files.certFile, `is not valid before ${leaf.validFromDate.toISOString()}`);
  }
  if (!leaf.checkPrivateKey(readPrivateKey(material.key, files.keyFile))) {
    throw invalid(files.keyFile, `is not the key of the certificate in ${files.certFile}`);
  }
  if (readCertificates(material.ca, files.caFile).length === 0) {
    throw invalid(files.caFile, 'holds no PEM certificate');
  }
  tryOut(material, files);
}

/** What reads well may still be refused, such as a key that is too short by today's measure. */
function tryOut(material: TlsMaterial, { certFile, keyFile, caFile }: TlsFiles): void {
  try {
    createSecureContext(clientTlsOptions(material));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'refused';
    throw invalid(certFile, `with ${keyFile} and ${caFile} is of no use to OpenSSL: ${why}`);
  }
}

function readCertificates(pem: string, file: string): X509Certificate[] {
  try {
    return parseCertificates(pem);
  } catch (cause) {
    throw invalid(file, 'holds a certificate that cannot be read', cause);
  }
}

function readPrivateKey(pem: string, file: string) {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw invalid(file, 'holds no private key that can be read', cause);
  }
}

function invalid(file: string, what: string, cause?: unknown): ZlError {
  return new ZlError('config.invalid', `${file} ${what}`, { cause });
}
