import { createAuthority, issueCertificate } from '@zerolatency/tls/authority';
import type { Layout } from './layout.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** Who has a certificate here, and for which end of a connection. */
const certificates = [
  { name: 'tool-relay', usage: 'server' },
  { name: 'model-host', usage: 'both' },
  // For `zl devices`.
  { name: 'operator', usage: 'client' },
] as const;

/** A certificate authority of this installation alone, and a certificate for each party. */
export async function createCertificates(layout: Layout): Promise<void> {
  const authority = await createAuthority({ name: 'Zero Latency local authority' });
  await writePublic(layout.authority.cert, authority.cert);
  await writePrivate(layout.authority.key, authority.key);
  for (const { name, usage } of certificates) {
    const hosts = ['localhost', '127.0.0.1', '::1'];
    const pair = await issueCertificate(authority, { name, usage, hosts });
    await writePublic(layout.tls(name).cert, pair.cert);
    await writePrivate(layout.tls(name).key, pair.key);
  }
}
