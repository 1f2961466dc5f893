import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { makeKey, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { openTokenVerifier, type TokenVerifier } from './token-verifier.ts';

const log = { warn() {}, info() {} };

async function setup(t: TestContext) {
  const issuer = await makeTokenIssuer(tempDir(t));
  const verifier = await openTokenVerifier(issuer, { log });
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
  assert.deepEqual((await verifier.verify(token)).identity, identity);
  assert.deepEqual((await verifier.verify(token)).identity, identity, 'from the cache');
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
  const verifier = await openTokenVerifier({ jwksFile, issuer: 'i', audience: 'a' }, { log });
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

test('a token without a key id is verified by whichever key fits', async (t) => {
  const jwksFile = join(tempDir(t), 'keys.json');
  const pairs = [await generateKeyPair('EdDSA'), await generateKeyPair('EdDSA')];
  const keys = await Promise.all(pairs.map(({ publicKey }) => exportJWK(publicKey)));
  await writeFile(jwksFile, JSON.stringify({ keys }));
  const verifier = await openTokenVerifier({ jwksFile, issuer: 'i', audience: 'a' }, { log });
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
  await assert.rejects(openTokenVerifier({ ...issuer, jwksFile }, { log }), /jwksFile/);
});
