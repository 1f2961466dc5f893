import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AuthorityOptions,
  type CertificateOptions,
  createAuthority,
  type IssuedPair,
  issueCertificate,
} from '@zerolatency/identity/authority';
import type { TlsFiles, TlsMaterial } from '@zerolatency/service/tls';

export type CertFiles = TlsFiles & TlsMaterial;

type Details = Omit<CertificateOptions, 'name' | 'usage'>;

export interface TestAuthority {
  /** For certificates that the methods below do not issue. */
  readonly pair: IssuedPair;
  readonly ca: string;
  readonly caFile: string;
  server(name?: string, details?: Details): Promise<CertFiles>;
  client(name: string, details?: Details): Promise<CertFiles>;
  /** For both client and server, like the certificate of a pod. */
  both(name: string, details?: Details): Promise<CertFiles>;
}

/** Creates a certificate authority; every PEM text is also a file in the directory. */
export async function makeAuthority(
  dir: string,
  options: Partial<AuthorityOptions> = {},
): Promise<TestAuthority> {
  const pair = await createAuthority({ name: 'Test authority', ...options });
  const ca = pair.cert;
  const caFile = join(dir, `ca-${randomUUID()}.pem`);
  writeFileSync(caFile, ca);

  const issue = async (request: CertificateOptions): Promise<CertFiles> => {
    const { cert, key } = await issueCertificate(pair, request);
    const stem = join(dir, `${request.name.replaceAll(/[^\w.-]/g, '_')}-${randomUUID()}`);
    const files = { certFile: `${stem}.pem`, keyFile: `${stem}.key.pem`, caFile };
    writeFileSync(files.certFile, cert);
    writeFileSync(files.keyFile, key, { mode: 0o600 });
    return { ...files, cert, key, ca };
  };
  return {
    pair,
    ca,
    caFile,
    server: (name = 'localhost', details = {}) => issue({ ...details, name, usage: 'server' }),
    client: (name, details = {}) => issue({ ...details, name, usage: 'client' }),
    both: (name, details = {}) => issue({ ...details, name, usage: 'both' }),
  };
}
