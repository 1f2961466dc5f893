import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createAuthority, issueCertificate } from './authority.ts';
import { certificateName } from './certificate-name.ts';

async function nameOf(name: string, hosts: string[] = []) {
  const authority = await createAuthority({ name: 'Test' });
  const { cert } = await issueCertificate(authority, { name, usage: 'client', hosts });
  return certificateName(new X509Certificate(cert));
}

test('the first name of a certificate is its holder', async () => {
  assert.equal(await nameOf('host-1', ['localhost', '127.0.0.1']), 'host-1');
  assert.equal(await nameOf('spiffe://cluster/host', ['localhost']), 'spiffe://cluster/host');
});

test('the common name counts when no alternative name identifies the holder', async () => {
  assert.equal(await nameOf('Host of the first floor'), 'Host of the first floor');
  assert.equal(await nameOf('Host one', ['127.0.0.1']), 'Host one');
});

test('a name that could pass for two is refused', async () => {
  assert.equal(certificateName(withAlternative('DNS:"a, DNS:admin, x", DNS:b')), undefined);
  assert.equal(certificateName(withSubject('CN=a\nCN=admin')), undefined);
});

function withAlternative(subjectAltName: string): X509Certificate {
  return { subjectAltName, subject: 'CN=a' } as X509Certificate;
}

function withSubject(subject: string): X509Certificate {
  return { subjectAltName: undefined, subject } as unknown as X509Certificate;
}
