// The library depends on tsyringe, which needs this to be loaded first.
import 'reflect-metadata';
import { randomBytes, type webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

/** PEM texts. The certificate of an intermediate is followed by its issuers', without the root. */
export interface IssuedPair {
  readonly cert: string;
  readonly key: string;
}

export interface AuthorityOptions {
  readonly name: string;
  readonly validForMs?: number;
  readonly nowMs?: number;
  /** Makes this an intermediate authority. */
  readonly parent?: IssuedPair;
}

export interface CertificateOptions {
  readonly name: string;
  readonly usage: 'server' | 'client' | 'both';
  /** DNS names and addresses beside the name. Default for a server: loopback. */
  readonly hosts?: readonly string[];
  readonly validForMs?: number;
  readonly nowMs?: number;
}

const KEYS = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Clocks of one installation may differ. */
const BACKDATED_MS = 5 * 60 * 1000;
/** A DNS name or URI becomes an alternative name; any other name is only the common name. */
const NAMES_A_HOST = /^(?:[\w*-]+(?:\.[\w-]+)*|[a-z]+:\/\/[\w.:/-]+)$/i;
const LOOPBACK = ['localhost', '127.0.0.1', '::1'];
const USAGES = {
  server: [x509.ExtendedKeyUsage.serverAuth],
  client: [x509.ExtendedKeyUsage.clientAuth],
  both: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
};

/** Creates a key and a certificate that may issue others; self-signed without a parent. */
export async function createAuthority(options: AuthorityOptions): Promise<IssuedPair> {
  const usage = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  return issue(options.parent, {
    ...options,
    validForMs: options.validForMs ?? 3650 * DAY_MS,
    extensions: [
      new x509.BasicConstraintsExtension(true, options.parent === undefined ? 1 : 0, true),
      new x509.KeyUsagesExtension(usage, true),
    ],
  });
}

export async function issueCertificate(
  authority: IssuedPair,
  options: CertificateOptions,
): Promise<IssuedPair> {
  const hosts = options.hosts ?? (options.usage === 'client' ? [] : LOOPBACK);
  // The name comes first: peers identify the holder by the first alternative name.
  const names = [...new Set([options.name, ...hosts])].filter(
    (name) => NAMES_A_HOST.test(name) || isIP(name) !== 0,
  );
  return issue(authority, {
    ...options,
    validForMs: options.validForMs ?? 365 * DAY_MS,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(USAGES[options.usage]),
      ...(names.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension(names.map(alternativeName))]),
    ],
  });
}

interface Request {
  readonly name: string;
  readonly validForMs: number;
  readonly nowMs?: number;
  readonly extensions: readonly x509.Extension[];
}

async function issue(issuer: IssuedPair | undefined, request: Request): Promise<IssuedPair> {
  const nowMs = request.nowMs ?? Date.now();
  const keys = await crypto.subtle.generateKey(KEYS, true, ['sign', 'verify']);
  const issuerCertificate = issuer && new x509.X509Certificate(issuer.cert);
  const subject = [{ CN: [request.name] }];
  const certificate = await x509.X509CertificateGenerator.create({
    // A serial number is a positive integer, so its leading bit is clear.
    serialNumber: `4${randomBytes(16).toString('hex').slice(1)}`,
    subject,
    issuer: issuerCertificate?.subjectName.toJSON() ?? subject,
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + request.validForMs),
    signingAlgorithm: SIGNATURE,
    publicKey: keys.publicKey,
    signingKey: issuer === undefined ? keys.privateKey : await importKey(issuer.key),
    extensions: [
      ...request.extensions,
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(
        issuerCertificate?.publicKey ?? keys.publicKey,
      ),
    ],
  });
  return { cert: withChain(certificate, issuer, issuerCertificate), key: await toPem(keys) };
}

/** A server sends its own certificate and every issuer except the root. */
function withChain(
  certificate: x509.X509Certificate,
  issuer: IssuedPair | undefined,
  issuerCertificate: x509.X509Certificate | undefined,
): string {
  const own = `${certificate.toString('pem')}\n`;
  const isRoot = issuerCertificate?.subject === issuerCertificate?.issuer;
  return issuer === undefined || isRoot ? own : `${own}${issuer.cert}`;
}

function alternativeName(host: string): x509.JsonGeneralName {
  if (isIP(host) !== 0) return { type: 'ip', value: host };
  return { type: host.includes('://') ? 'url' : 'dns', value: host };
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem);
  return crypto.subtle.importKey('pkcs8', der, KEYS, false, ['sign']);
}

async function toPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return `${x509.PemConverter.encode(der, x509.PemConverter.PrivateKeyTag)}\n`;
}
