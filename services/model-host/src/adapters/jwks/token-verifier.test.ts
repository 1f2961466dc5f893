import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { makeKey, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import {
  openTokenVerifier,
  type TokenVerifier,
  type TokenVerifierOptions,
} from './token-verifier.ts';

const log = { warn() {}, info() {} };

function openFile(
  { jwksFile, issuer, audience }: { jwksFile: string; issuer: string; audience: string },
  options: TokenVerifierOptions,
): Promise<TokenVerifier> {
  const keys = { file: jwksFile, setting: 'identity.jwksFile' };
  const refresh = { minMs: 1, maxMs: 1, maxAgeMs: 1 };
  const issuers = [{ name: 'default', issuer, audience, keys }];
  return openTokenVerifier({ issuers, refresh, allowNetworks: [] }, options);
}

async function setup(t: TestContext) {
  const issuer = await makeTokenIssuer(tempDir(t));
  const verifier = await openFile(issuer, { log });
  t.after(() => verifier.close());
  return { issuer, verifier };
}

async function refuses(verifier: TokenVerifier, token: string, expected: RegExp): Promise<void> {
  await assert.rejects(
    verifier.verify(token),
    (error) =>
      error instanceof ZlError && error.id === 'identity.invalid' && expected.test(error.message),
  );
}

test('[HOST-11] tenant, user and roles come from a verified token', async (t) => {
  const { issuer, verifier } = await setup(t);
  const token = await issuer.token({ tenant: 'north', user: 'user-1', roles: ['admin'] });
  const identity = { tenant: 'north', user: 'user-1', roles: ['admin'] };
  const verified = await verifier.verify(token);
  assert.deepEqual(verified.identity, identity);
  assert.equal(await verifier.verify(token), verified, 'the same one, from the cache');
});

test('[HOST-11] a token that was verified before is refused once it has expired', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  let nowMs = Date.UTC(2030, 0, 1);
  const verifier = await openFile(issuer, { log, nowMs: () => nowMs });
  t.after(() => verifier.close());
  const token = await issuer.token({ nowMs, expiresInMs: 60_000 });
  const { expiresAtMs } = await verifier.verify(token);
  nowMs = expiresAtMs - 1;
  assert.equal((await verifier.verify(token)).expiresAtMs, expiresAtMs);
  nowMs = expiresAtMs;
  await refuses(verifier, token, /expired/);
});

test('[HOST-11] each token keeps its own identity in the cache', async (t) => {
  const { issuer, verifier } = await setup(t);
  const users = ['anna', 'bert', 'carl'];
  const tokens = await Promise.all(users.map((user) => issuer.token({ user })));
  for (const _ of ['first', 'cached']) {
    const found = await Promise.all(tokens.map((token) => verifier.verify(token)));
    assert.deepEqual(
      found.map(({ identity }) => identity.user),
      users,
    );
  }
});

test('[HOST-11] a device credential and a peer token are not access tokens, though a trusted key signed them', async (t) => {
  const { issuer, verifier } = await setup(t);
  const sign = (typ: string) =>
    new SignJWT({ ...issuer.claims(), cnf: { jwk: issuer.key.publicJwk }, jti: 'one' })
      .setProtectedHeader({ alg: 'EdDSA', typ, kid: issuer.key.kid })
      .sign(issuer.key.privateKey);
  for (const typ of ['zl-device+jwt', 'zl-peer+jwt', 'zl-proof+jwt', 'logout+jwt']) {
    await refuses(verifier, await sign(typ), /another type/);
  }
  for (const typ of ['JWT', 'at+jwt']) {
    assert.equal((await verifier.verify(await sign(typ))).identity.user, 'user-1');
  }
});

test('[HOST-11] expired, foreign, forged and unsigned tokens are refused', async (t) => {
  const { issuer, verifier } = await setup(t);
  await refuses(verifier, await issuer.token({ expiresInMs: -60_000 }), /expired/);
  await refuses(verifier, await issuer.token({ claims: { aud: 'elsewhere' } }), /"aud"/);
  await refuses(verifier, await issuer.token({ claims: { iss: 'somebody' } }), /"iss"/);
  const [head, , signature] = (await issuer.token({})).split('.');
  const claims = issuer.claims({ user: 'root' });
  const altered = Buffer.from(JSON.stringify(claims)).toString('base64url');
  await refuses(verifier, `${head}.${altered}.${signature}`, /signature/);
  await refuses(verifier, new UnsecuredJWT(claims).encode(), /cannot be read|algorithm/);
  const stranger = await generateKeyPair('EdDSA');
  await refuses(
    verifier,
    await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA' }).sign(stranger.privateKey),
    /signature/,
  );
  await refuses(verifier, 'x'.repeat(20_000), /too long/);
  await refuses(verifier, 'not.a.token', /./);
});

test('[HOST-11] a public key used as a shared secret is refused', async (t) => {
  const dir = tempDir(t);
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  const jwksFile = join(dir, 'keys.json');
  await writeFile(jwksFile, JSON.stringify({ keys: [{ ...jwk, kid: 'r' }] }));
  const verifier = await openFile({ jwksFile, issuer: 'i', audience: 'a' }, { log });
  t.after(() => verifier.close());
  const jwt = () =>
    new SignJWT({ tenant: 'north' })
      .setSubject('user-1')
      .setIssuer('i')
      .setAudience('a')
      .setExpirationTime('1h');
  const byRsa = await jwt().setProtectedHeader({ alg: 'RS256', kid: 'r' }).sign(privateKey);
  assert.equal((await verifier.verify(byRsa)).identity.user, 'user-1');
  const secret = new TextEncoder().encode(JSON.stringify(jwk));
  await refuses(
    verifier,
    await jwt().setProtectedHeader({ alg: 'HS256', kid: 'r' }).sign(secret),
    /./,
  );
});

test('[HOST-11] claims that are not names and tokens without expiry are refused', async (t) => {
  const { issuer, verifier } = await setup(t);
  await refuses(verifier, await issuer.token({ tenant: 'a b' }), /"tenant"/);
  await refuses(verifier, await issuer.token({ tenant: 'x'.repeat(300) }), /"tenant"/);
  await refuses(verifier, await issuer.token({ user: '' }), /"sub"/);
  await refuses(
    verifier,
    await issuer.token({ roles: Array.from({ length: 100 }, () => 'r') }),
    /"roles"/,
  );
  await refuses(verifier, await issuer.token({ claims: { exp: undefined } }), /"exp"/);
});

test('a removed key invalidates the tokens it signed, even verified ones', async (t) => {
  const { issuer, verifier } = await setup(t);
  const token = await issuer.token({});
  await verifier.verify(token);
  const { publicJwk } = makeKey();
  await writeFile(issuer.jwksFile, JSON.stringify({ keys: [publicJwk] }));
  await verifier.check();
  await refuses(verifier, token, /./);
});

test('a token that was being verified while its key was removed is not remembered', async (t) => {
  const jwksFile = join(tempDir(t), 'keys.json');
  const signer = await generateKeyPair('EdDSA');
  const jwk = await exportJWK(signer.publicKey);
  // Without key ids each is tried in turn, and the one that fits is the last.
  const others = Array.from({ length: 500 }, () => makeKey().publicJwk);
  const strangers = others.map(({ kid: _, ...key }) => key);
  await writeFile(jwksFile, JSON.stringify({ keys: [...strangers, jwk] }));
  const verifier = await openFile({ jwksFile, issuer: 'i', audience: 'a' }, { log });
  t.after(() => verifier.close());
  const token = await new SignJWT({ tenant: 'north', iss: 'i', aud: 'a', sub: 'user-1' })
    .setProtectedHeader({ alg: 'EdDSA' })
    .setExpirationTime('1h')
    .sign(signer.privateKey);
  let isVerified = false;
  const verifying = verifier.verify(token).finally(() => {
    isVerified = true;
  });
  await writeFile(jwksFile, JSON.stringify({ keys: strangers.slice(0, 1) }));
  await verifier.check();
  await refuses(verifier, 'not.a.token', /./);
  assert.equal(isVerified, false, 'the keys changed too late to show anything');
  assert.equal((await verifying).identity.user, 'user-1');
  await refuses(verifier, token, /./);
});

test('a token without a key id is verified by whichever key fits', async (t) => {
  const jwksFile = join(tempDir(t), 'keys.json');
  const pairs = [await generateKeyPair('EdDSA'), await generateKeyPair('EdDSA')];
  const keys = await Promise.all(pairs.map(({ publicKey }) => exportJWK(publicKey)));
  await writeFile(jwksFile, JSON.stringify({ keys }));
  const verifier = await openFile({ jwksFile, issuer: 'i', audience: 'a' }, { log });
  t.after(() => verifier.close());
  const stranger = await generateKeyPair('EdDSA');
  const signed = ({ privateKey }: typeof stranger, expires = '1h') =>
    new SignJWT({ tenant: 'north', iss: 'i', aud: 'a', sub: 'user-1' })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setExpirationTime(expires)
      .sign(privateKey);
  for (const pair of pairs)
    assert.equal((await verifier.verify(await signed(pair))).identity.user, 'user-1');
  await refuses(verifier, await signed(pairs[1]!, '-1h'), /expired/);
  await refuses(verifier, await signed(stranger), /signature/);
});

test('an unusable key set leaves the last one in force, and a secret key is refused', async (t) => {
  const { issuer, verifier } = await setup(t);
  const token = await issuer.token({});
  await writeFile(issuer.jwksFile, '{');
  await verifier.check();
  assert.equal((await verifier.verify(token)).identity.user.length > 0, true);
  const jwksFile = join(tempDir(t), 'secret.json');
  await writeFile(jwksFile, JSON.stringify({ keys: [makeKey().privateJwk] }));
  await assert.rejects(openFile({ ...issuer, jwksFile }, { log }), /jwksFile/);
});
