import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { parseCertificates, type TlsMaterial } from '@zerolatency/service/tls';
import { type CertFiles, makeAuthority, tempDir } from '@zerolatency/testing';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { createAuthority, issueCertificate } from './authority.ts';
import { signPeerToken, verifyPeerToken } from './peer-token.ts';

const NOW = Date.UTC(2030, 0, 1);
const AUDIENCE = 'relay-1';
const AT = { nowMs: NOW };

type Verdict = ReturnType<typeof verifyPeerToken>;

function refusal(verdict: Verdict): string {
  assert.ok('error' in verdict, 'the token was accepted');
  assert.equal(verdict.error.id, 'identity.invalid');
  return verdict.error.message;
}

function sign(material: Pick<TlsMaterial, 'cert' | 'key'>, nowMs = NOW): Promise<string> {
  return signPeerToken(material, { audience: AUDIENCE, nowMs });
}

function verify(token: string, ca: string, nowMs = NOW): Verdict {
  return verifyPeerToken(token, { ca, audience: AUDIENCE, nowMs });
}

async function setUp(t: TestContext) {
  const authority = await makeAuthority(tempDir(t), AT);
  return { authority, ca: authority.ca, host: await authority.client('host-1', AT) };
}

interface Forgery {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
}

/** A token as signPeerToken makes it, except for the given parts. */
function forge({ cert, key }: Pick<CertFiles, 'cert' | 'key'>, { header, claims }: Forgery) {
  const x5c = parseCertificates(cert).map(({ raw }) => raw.toString('base64'));
  const iat = NOW / 1000;
  return new SignJWT({ aud: AUDIENCE, iat, exp: iat + 60, jti: 'one', ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'zl-peer+jwt', x5c, ...header })
    .sign(createPrivateKey(key));
}

test('[OPS-05] a host proves its client certificate without TLS showing it', async (t) => {
  const { ca, host } = await setUp(t);
  const peer = verify(await sign(host), ca);
  assert.ok(!('error' in peer));
  assert.equal(peer.name, 'host-1');
  assert.equal(peer.expiresAtMs, NOW + 90_000);
});

test('each token has its own id', async (t) => {
  const { ca, host } = await setUp(t);
  const [a, b] = [verify(await sign(host), ca), verify(await sign(host), ca)];
  assert.ok('jti' in a && 'jti' in b && a.jti !== b.jti);
});

test('a token holds for a minute, give or take the clock tolerance', async (t) => {
  const { ca, host } = await setUp(t);
  const token = await sign(host);
  for (const offsetMs of [-30_000, 0, 60_000, 89_999]) {
    assert.ok('name' in verify(token, ca, NOW + offsetMs), `at ${offsetMs}`);
  }
  for (const offsetMs of [90_000, 3_600_000]) {
    assert.match(refusal(verify(token, ca, NOW + offsetMs)), /has expired/);
  }
  assert.match(refusal(verify(token, ca, NOW - 30_001)), /from the future/);
});

test('a token for another relay is refused', async (t) => {
  const { ca, host } = await setUp(t);
  const token = await signPeerToken(host, { audience: 'relay-2', nowMs: NOW });
  assert.match(refusal(verify(token, ca)), /aud/);
});

test('a certificate of another authority is refused, even with the same name', async (t) => {
  const { ca } = await setUp(t);
  const other = await makeAuthority(tempDir(t), AT);
  const token = await sign(await other.client('host-1', AT));
  assert.match(refusal(verify(token, ca)), /not issued by a known authority/);
});

test('a chain over an intermediate is followed, and refused where it is missing', async (t) => {
  const { authority, ca } = await setUp(t);
  const parent = authority.pair;
  const intermediate = await createAuthority({ name: 'Intermediate', parent, nowMs: NOW });
  const host = await issueCertificate(intermediate, { name: 'host', usage: 'client', nowMs: NOW });
  assert.equal(parseCertificates(host.cert).length, 2);
  assert.ok('name' in verify(await sign(host), ca));
  const withRoot = { ...host, cert: host.cert + ca };
  assert.ok('name' in verify(await sign(withRoot), ca));

  const alone = { ...host, cert: new X509Certificate(host.cert).toString() };
  assert.match(refusal(verify(await sign(alone), ca)), /known authority/);
  const tooLong = { ...host, cert: host.cert + ca + ca };
  assert.match(refusal(verify(await sign(tooLong), ca)), /readable certificate chain/);
});

test('a key of another certificate does not sign for this one', async (t) => {
  const { authority, ca, host } = await setUp(t);
  const other = await authority.client('host-2', AT);
  const token = await sign({ cert: host.cert, key: other.key });
  assert.match(refusal(verify(token, ca)), /signature/);
});

test('only the algorithm of the key is accepted', async (t) => {
  const { ca, host } = await setUp(t);
  const [, payload] = (await sign(host)).split('.');
  const x5c = parseCertificates(host.cert).map(({ raw }) => raw.toString('base64'));
  for (const alg of ['none', 'HS256', 'RS256', 'EdDSA', 'ES384']) {
    const header = JSON.stringify({ alg, typ: 'zl-peer+jwt', x5c });
    const encoded = Buffer.from(header).toString('base64url');
    for (const signature of ['', 'AAAA']) {
      refusal(verify(`${encoded}.${payload}.${signature}`, ca));
    }
  }
});

test('a token that lacks a claim or lives longer than a minute is refused', async (t) => {
  const { ca, host } = await setUp(t);
  const iat = NOW / 1000;
  for (const claims of [{}, { jti: 'x'.repeat(64) }]) {
    assert.ok('name' in verify(await forge(host, { claims }), ca));
  }
  const bad: Record<string, Record<string, unknown>> = {
    'no jti': { jti: undefined },
    'empty jti': { jti: '' },
    'long jti': { jti: 'x'.repeat(65) },
    'jti of another kind': { jti: 7 },
    'no exp': { exp: undefined },
    'far exp': { exp: iat + 61 },
    'no iat': { iat: undefined },
    'iat of yesterday': { iat: iat - 86_400 },
    'iat of tomorrow': { iat: iat + 86_400, exp: iat + 86_460 },
    'no aud': { aud: undefined },
  };
  for (const [name, claims] of Object.entries(bad)) {
    assert.ok('error' in verify(await forge(host, { claims }), ca), name);
  }
  refusal(verify(await forge(host, { header: { typ: 'JWT' } }), ca));
});

test('a weak key does not sign', async (t) => {
  const { host } = await setUp(t);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await assert.rejects(sign({ cert: host.cert, key }), /Ed25519, EC P-256 or RSA/);
});

test('a token altered anywhere is refused, and garbage does not throw', async (t) => {
  const { ca, host } = await setUp(t);
  const token = await sign(host);
  const altered = fc.asyncProperty(
    fc.nat(token.length - 1),
    fc.constantFrom('A', 'z', '.', '~'),
    async (index, char) => {
      // The last digit of base64 may hold unused bits.
      if (token[index] === char || '.'.includes(token[index + 1] ?? '')) return;
      refusal(verify(token.slice(0, index) + char + token.slice(index + 1), ca));
    },
  );
  await fc.assert(altered, { numRuns: 100 });
  const garbage = fc.asyncProperty(fc.string({ maxLength: 300 }), async (text) => {
    refusal(verify(text, ca));
  });
  await fc.assert(garbage, { numRuns: 200 });
  assert.match(refusal(verify('x'.repeat(20_000), ca)), /too long/);
});
