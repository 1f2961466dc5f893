import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { createAuthority, issueCertificate } from './authority.ts';
import {
  type CertificateRuleSettings,
  certificateIdentity,
  certificateRule,
} from './certificate-identity.ts';

function ruleOf(name: string, settings: Partial<CertificateRuleSettings> = {}) {
  return certificateRule({ name, roles: [], ...settings });
}

test('[HOST-11] a rule maps the names it fits to tenant, user and roles', () => {
  const bff = ruleOf('URI:spiffe://prod.example/{tenant}/bff/{user}', { roles: ['bff'] });
  assert.deepEqual(bff('URI:spiffe://prod.example/north/bff/web'), {
    ...{ tenant: 'north', user: 'web', roles: ['bff'] },
  });
  const fixed = ruleOf('URI:spiffe://prod.example/ns/*/sa/bff', { tenant: 'north' });
  assert.deepEqual(fixed('URI:spiffe://prod.example/ns/web/sa/bff'), {
    ...{ tenant: 'north', user: 'spiffe://prod.example/ns/web/sa/bff', roles: [] },
  });
  const dns = ruleOf('DNS:{user}.clients.example', { tenant: 'north' });
  assert.equal(dns('DNS:Web.Clients.EXAMPLE')?.user, 'web');
});

test('[HOST-11] a rule fits whole names of its own type, part by part', () => {
  const uri = ruleOf('URI:spiffe://prod.example/{tenant}/bff', { user: 'bff' });
  const dns = ruleOf('DNS:*.clients.example', { tenant: 'north', user: 'c' });
  for (const name of [
    'URI:spiffe://prod.example/north/south/bff',
    'URI:spiffe://prod.example//bff',
    'URI:spiffe://prod.example/north/bff/more',
    'URI:xspiffe://prod.example/north/bff',
    'URI:spiffe://prodxexample/north/bff',
    'URI:spiffe://PROD.example/north/bff',
    'DNS:spiffe://prod.example/north/bff',
    'URI:spiffe://prod.example/no%20rth/bff',
    'URI:spiffe://prod.example/*/bff',
  ]) {
    assert.equal(uri(name), undefined, name);
  }
  for (const name of ['DNS:a.b.clients.example', 'DNS:clients.example', 'URI:a.clients.example']) {
    assert.equal(dns(name), undefined, name);
  }
});

test('[HOST-11] the first rule that fits counts, whatever the order of the names', async () => {
  const authority = await createAuthority({ name: 'Test' });
  const { cert } = await issueCertificate(authority, {
    ...{ name: 'spiffe://prod.example/a', hosts: ['b.example', 'spiffe://prod.example/c'] },
    usage: 'client',
  });
  const certificate = new X509Certificate(cert);
  const named = (...names: string[]) =>
    certificateIdentity(
      certificate,
      names.map((name) => ruleOf(name, { tenant: 'north' })),
    )?.user;
  assert.equal(named('URI:spiffe://prod.example/c', 'DNS:b.example'), 'spiffe://prod.example/c');
  assert.equal(named('DNS:b.example', 'URI:spiffe://prod.example/*'), 'b.example');
  assert.equal(named('URI:spiffe://prod.example/*'), 'spiffe://prod.example/a');
  assert.equal(named('DNS:*'), undefined);
});

test('[HOST-11] a rule without a tenant, or with two, is refused at the start', () => {
  for (const [name, settings] of [
    ['URI:spiffe://prod.example/*', {}],
    ['URI:spiffe://prod.example/{tenant}', { tenant: 'north' }],
    ['URI:spiffe://{tenant}/{tenant}', {}],
    ['DNS:{user}.{tenant}.example', { user: 'me' }],
  ] as const) {
    assert.throws(
      () => ruleOf(name, settings),
      (error: ZlError) => error.id === 'config.invalid' && error.message.includes(name),
    );
  }
});
