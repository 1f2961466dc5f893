import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import * as x509 from '@peculiar/x509';
import { parseCertificates } from '@zerolatency/service/tls';
import { makeAuthority, tempDir } from '@zerolatency/testing';
import { createAuthority, type IssuedPair, issueCertificate } from './authority.ts';
import { clientChainFault } from './certificate-chain.ts';
import { signPeerToken, verifyPeerToken } from './peer-token.ts';

const NOW = Date.UTC(2030, 0, 1);
const DAY_MS = 24 * 60 * 60 * 1000;
const AT = { nowMs: NOW };

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const CLIENT = new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]);
const SERVER = new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]);

/** A certificate that our own authority would not issue, without a key usage. */
async function issueOdd(
  issuer: IssuedPair,
  extensions: x509.Extension[],
  algorithm: { readonly name: string } = P256,
): Promise<IssuedPair> {
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  if (!('publicKey' in pair)) throw new Error('not a key pair');
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', pair.privateKey));
  const issuerKey = createPrivateKey(issuer.key).export({ type: 'pkcs8', format: 'der' });
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=host-1',
    issuer: new x509.X509Certificate(issuer.cert).subject,
    notBefore: new Date(NOW),
    notAfter: new Date(NOW + 1000),
    publicKey: pair.publicKey,
    signingKey: await crypto.subtle.importKey('pkcs8', issuerKey, P256, false, ['sign']),
    signingAlgorithm: P256,
    extensions,
  });
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

async function setUp(t: TestContext) {
  const authority = await makeAuthority(tempDir(t), AT);
  const fault = (chain: string, ca = authority.ca) =>
    clientChainFault(parseCertificates(chain), parseCertificates(ca), NOW);
  return { authority, fault, host: await authority.client('host-1', AT) };
}

test('a client certificate of a known authority is accepted, with or without its root', async (t) => {
  const { authority, fault, host } = await setUp(t);
  const other = await makeAuthority(tempDir(t), AT);
  assert.equal(fault(host.cert), undefined);
  assert.equal(fault(host.cert + authority.ca), undefined);
  assert.equal(fault(host.cert, other.ca + authority.ca), undefined);
  assert.match(fault(host.cert, other.ca) ?? '', /known authority/);
  assert.match(fault(host.cert, '') ?? '', /known authority/);
  assert.match(fault('') ?? '', /no certificate/);
});

test('an expired certificate, one not yet valid and an expired authority are refused', async (t) => {
  const { authority, fault } = await setUp(t);
  const old = await authority.client('old', { nowMs: NOW - DAY_MS, validForMs: DAY_MS });
  assert.match(fault(old.cert) ?? '', /expired or not yet valid/);
  const early = await authority.client('early', { nowMs: NOW + DAY_MS });
  assert.match(fault(early.cert) ?? '', /expired or not yet valid/);
  const gone = await makeAuthority(tempDir(t), { nowMs: NOW - DAY_MS, validForMs: DAY_MS });
  const orphan = await gone.client('orphan', AT);
  assert.match(fault(orphan.cert, gone.ca) ?? '', /known authority/);
});

test('a server certificate is not a client certificate', async (t) => {
  const { authority, fault } = await setUp(t);
  assert.match(fault((await authority.server('relay-2', AT)).cert) ?? '', /not a client/);
});

test('a certificate authority and a self-signed certificate are not clients', async (t) => {
  const { authority, fault } = await setUp(t);
  assert.match(fault(authority.ca) ?? '', /authority cannot be/);
  const stranger = await createAuthority({ name: 'host-1', nowMs: NOW });
  assert.notEqual(fault(stranger.cert), undefined);
});

test('a client certificate cannot issue another, even without a key usage', async (t) => {
  const { authority, fault, host } = await setUp(t);
  const unlimited = await issueOdd(authority.pair, [CLIENT]);
  for (const issuer of [host, unlimited]) {
    const child = await issueOdd(issuer, [CLIENT]);
    assert.match(fault(child.cert + issuer.cert) ?? '', /broken chain|may not issue/);
  }
});

test('a valid chain behind a certificate it did not issue is refused', async (t) => {
  const { authority, fault, host } = await setUp(t);
  const stranger = await (await makeAuthority(tempDir(t), AT)).client('host-1', AT);
  const intermediate = await createAuthority({ name: 'Next', parent: authority.pair, nowMs: NOW });
  for (const behind of [authority.ca, intermediate.cert, host.cert]) {
    assert.match(fault(stranger.cert + behind) ?? '', /broken chain/);
  }
});

test('an intermediate limited to servers cannot issue a client certificate', async (t) => {
  const { authority, fault } = await setUp(t);
  const isAuthority = new x509.BasicConstraintsExtension(true, 0, true);
  const faultUnder = async (usage: x509.Extension) => {
    const parent = await issueOdd(authority.pair, [isAuthority, usage]);
    const child = await issueOdd(parent, [CLIENT]);
    return fault(child.cert + parent.cert);
  };
  assert.equal(await faultUnder(CLIENT), undefined);
  assert.match((await faultUnder(SERVER)) ?? '', /may not issue client certificates/);
});

test('Ed25519 and RSA certificates sign peer tokens as well', async (t) => {
  const { authority } = await setUp(t);
  const rsa = { hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 };
  for (const algorithm of [{ name: 'Ed25519' }, { name: 'RSASSA-PKCS1-v1_5', ...rsa }]) {
    const host = await issueOdd(authority.pair, [CLIENT], algorithm);
    const token = await signPeerToken(host, { audience: 'relay-1', nowMs: NOW });
    const expected = { ca: authority.ca, audience: 'relay-1', nowMs: NOW };
    assert.ok('name' in verifyPeerToken(token, expected), algorithm.name);
  }
});

test('a certificate is valid from five minutes before its issue, to clocks that differ, until its end', async () => {
  const hour = { validForMs: 60 * 60 * 1000, ...AT };
  const authority = await createAuthority({ name: 'root', ...AT });
  for (const [{ cert }, validForMs] of [
    [authority, 3650 * DAY_MS],
    [await issueCertificate(authority, { name: 'host-1', usage: 'both', ...AT }), 365 * DAY_MS],
    [await createAuthority({ name: 'root', ...hour }), hour.validForMs],
    [
      await issueCertificate(authority, { name: 'host-1', usage: 'client', ...hour }),
      hour.validForMs,
    ],
  ] as const) {
    const { validFrom, validTo } = new X509Certificate(cert);
    assert.equal(Date.parse(validFrom), NOW - 5 * 60 * 1000);
    assert.equal(Date.parse(validTo), NOW + validForMs);
  }
});
