import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { verifyAccessToken } from './access-token.ts';

const NOW = Date.UTC(2030, 0, 1);
const NOW_S = NOW / 1000;
const RULES = { issuer: 'issuer', audience: 'host', nowMs: NOW };
const CLAIMS = {
  iss: 'issuer',
  aud: 'host',
  sub: 'anna',
  tenant: 'north',
  roles: ['user'],
  exp: NOW_S + 60,
};

async function verifierOf(alg = 'EdDSA') {
  const { privateKey, publicKey } = await generateKeyPair(alg);
  const keys = createLocalJWKSet({ keys: [await exportJWK(publicKey)] });
  const sign = (claims: object, header: object = {}) =>
    new SignJWT({ ...claims }).setProtectedHeader({ alg, ...header }).sign(privateKey);
  const verify = async (claims: object, header: object = {}) =>
    verifyAccessToken(await sign({ ...CLAIMS, ...claims }, header), keys, RULES);
  return {
    verify,
    faultOf: async (claims: object, header?: object) => (await verify(claims, header)).error ?? '',
  };
}

test('[HOST-11] a token without any one of its claims is refused, and the claim is named', async () => {
  const { verify, faultOf } = await verifierOf();
  assert.equal((await verify({})).error, undefined);
  for (const claim of ['iss', 'aud', 'sub', 'tenant', 'exp']) {
    assert.match(await faultOf({ [claim]: undefined }), new RegExp(`"${claim}"`));
  }
});

test('[HOST-11] a claim of another type or value is refused, and the claim is named', async () => {
  const { faultOf } = await verifierOf();
  const wrong: [string, unknown][] = [
    ['iss', 'somebody'],
    ['aud', 'elsewhere'],
    ['aud', ['elsewhere', 'nowhere']],
    ['sub', 7],
    ['sub', 'a b'],
    ['tenant', 7],
    ['tenant', ['north']],
    ['tenant', 'a/b'],
    ['exp', '2099-01-01'],
    ['nbf', NOW_S + 60],
  ];
  for (const [claim, value] of wrong) {
    const fault = await faultOf({ [claim]: value });
    assert.match(fault, new RegExp(`"${claim}"`), `${claim} ${value}: ${fault}`);
  }
  assert.equal(await faultOf({ aud: ['elsewhere', 'host'] }), '');
});

test('[HOST-11] a token holds until five seconds after its expiry, and says so', async () => {
  const { verify, faultOf } = await verifierOf();
  const { value } = await verify({ exp: NOW_S - 4 });
  assert.equal(value?.expiresAtMs, NOW + 1000);
  assert.match(await faultOf({ exp: NOW_S - 5 }), /expired/);
});

test('[HOST-11] roles are a bounded list of names, and none when the claim is absent', async () => {
  const { verify, faultOf } = await verifierOf();
  const rolesOf = async (roles: unknown) => (await verify({ roles })).value?.identity.roles;
  assert.deepEqual(await rolesOf(undefined), []);
  assert.deepEqual(await rolesOf(['a', 'b|c', 'Prüfer']), ['a', 'b|c', 'Prüfer']);
  const many = (count: number, length = 1) =>
    Array.from({ length: count }, () => 'r'.repeat(length));
  assert.equal((await rolesOf(many(64, 256)))?.length, 64);
  for (const roles of [
    many(65),
    many(1, 257),
    'admin',
    { 0: 'admin' },
    [7],
    ['ok', ''],
    ['', 'ok'],
    ['a b'],
    ['a\n'],
    ['-a'],
    ['a\u202e'],
    [['a']],
    null,
  ]) {
    assert.match(await faultOf({ roles }), /"roles" is not a list of at most 64/);
  }
});

test('[HOST-11] a token of another type is refused, whatever signed it', async () => {
  const { faultOf } = await verifierOf();
  // RFC 9068 has "at+jwt"; common identity providers send "JWT" or nothing.
  for (const typ of ['JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt']) {
    assert.equal(await faultOf({}, { typ }), '', typ);
  }
  for (const typ of [
    'zl-device+jwt',
    'ZL-PEER+JWT',
    'application/zl-proof+jwt',
    'logout+jwt',
    'dpop+jwt',
    'secevent+jwt',
    'x-at+jwt',
    'at+application/jwt',
    'at+jwt/application/',
    ' ',
  ]) {
    assert.equal(await faultOf({}, { typ }), 'it is of another type', typ);
  }
});

test('[HOST-11] a text that is not a JWT is refused as that', async () => {
  const keys = createLocalJWKSet({ keys: [] });
  for (const text of ['', 'garbage', 'a.b.c', 'eyJhbGciOiJFZERTQSJ9.e30']) {
    const { error } = await verifyAccessToken(text, keys, RULES);
    assert.equal(error, 'it cannot be read', text);
  }
});

test('[HOST-11] only the stated algorithms are accepted, also with a key of the set', async () => {
  for (const alg of ['EdDSA', 'ES256', 'RS256']) {
    assert.equal(await (await verifierOf(alg)).faultOf({}), '', alg);
  }
  for (const alg of ['ES384', 'ES512', 'RS384', 'RS512', 'PS256']) {
    assert.match(await (await verifierOf(alg)).faultOf({}), /algorithm is not allowed/, alg);
  }
});
