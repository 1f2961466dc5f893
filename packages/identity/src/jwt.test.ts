import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseCertificates } from '@zerolatency/service/tls';
import {
  makeAuthority,
  makeEnrolment,
  makeKey,
  makeTokenIssuer,
  tempDir,
} from '@zerolatency/testing';
import { calculateJwkThumbprint, createLocalJWKSet, exportJWK, SignJWT } from 'jose';
import { verifyAccessToken } from './access-token.ts';
import {
  issueDeviceCredential,
  possessionFault,
  readDeviceCredential,
  signPossession,
  verifyDeviceCredential,
} from './device-credential.ts';
import { verifyPeerToken } from './peer-token.ts';

const NOW = Date.UTC(2030, 0, 1);
const RELAY = 'relay-1';

/** One key that signs every kind, with every claim of every kind: only the type differs. */
async function everyKind(t: Parameters<typeof tempDir>[0]) {
  const authority = await makeAuthority(tempDir(t), { nowMs: NOW });
  const host = await authority.client('host-1', { nowMs: NOW });
  const [leaf] = parseCertificates(host.cert);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = await exportJWK(publicKey);
  const keys = createLocalJWKSet({ keys: [jwk, await exportJWK(leaf!.publicKey)] });
  const nonce = randomBytes(32);
  const claims = {
    iss: 'issuer',
    aud: RELAY,
    sub: 'anna',
    tenant: 'north',
    cnf: { jwk },
    nonce: nonce.toString('base64url'),
    iat: NOW / 1000,
    exp: NOW / 1000 + 60,
    jti: 'one',
  };
  const x5c = [leaf!.raw.toString('base64')];
  const sign = (typ: string | undefined, key: Parameters<SignJWT['sign']>[0] = privateKey) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', x5c, ...(typ === undefined ? {} : { typ }) })
      .sign(key);
  const accepts = {
    accessToken: async (text: string) => {
      const rules = { issuer: 'issuer', audience: RELAY, nowMs: NOW };
      return (await verifyAccessToken(text, keys, rules)).error;
    },
    deviceCredential: async (text: string) =>
      (await verifyDeviceCredential(text, keys, { nowMs: NOW })).error,
    possessionProof: async (text: string) => {
      const key = { jwk, algorithm: 'ES256' as const };
      return possessionFault(text, key, { nonce, audience: RELAY, nowMs: NOW });
    },
    peerToken: async (text: string) => {
      const verdict = verifyPeerToken(text, { ca: authority.ca, audience: RELAY, nowMs: NOW });
      return 'error' in verdict ? verdict.error.message : undefined;
    },
  };
  return { sign, accepts, hostKey: host.key };
}

test('[HOST-11] a JWT of one kind is never accepted as another', async (t) => {
  const { sign, accepts, hostKey } = await everyKind(t);
  const types: Record<string, (string | undefined)[]> = {
    accessToken: [undefined, 'JWT', 'at+jwt', 'application/at+jwt'],
    deviceCredential: ['zl-device+jwt'],
    possessionProof: ['zl-proof+jwt'],
    peerToken: ['zl-peer+jwt'],
  };
  for (const [kind, ofKind] of Object.entries(types)) {
    for (const typ of [...ofKind, 'zl-other+jwt']) {
      for (const [verifier, verify] of Object.entries(accepts)) {
        const key = verifier === 'peerToken' ? createPrivateKey(hostKey) : undefined;
        const fault = await verify(await sign(typ, key));
        const isOwn = verifier === kind && typ !== 'zl-other+jwt';
        assert.equal(fault === undefined, isOwn, `${typ} as ${verifier}: ${fault}`);
      }
    }
  }
});

test('a device with a P-256 key is enrolled and proves its key', async () => {
  const issuerKeys = generateKeyPairSync('ed25519');
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const device = { tenant: 'north', deviceId: 'laptop' };
  const credential = await issueDeviceCredential({
    device,
    devicePublicKey: publicKey,
    issuer: 'issuer',
    issuerKey: issuerKeys.privateKey,
    nowMs: NOW,
    validForMs: 60_000,
  });
  const { key, ...read } = readDeviceCredential(credential).value!;
  assert.deepEqual(read, { ...device, issuedAtMs: NOW, expiresAtMs: NOW + 60_000 });
  assert.equal(key?.algorithm, 'ES256');
  const jwk = await exportJWK(issuerKeys.publicKey);
  const keys = createLocalJWKSet({ keys: [{ ...jwk, kid: await calculateJwkThumbprint(jwk) }] });
  const { value } = await verifyDeviceCredential(credential, keys, {
    issuer: 'issuer',
    nowMs: NOW,
  });
  assert.deepEqual(value?.device, device);
  assert.equal(value?.expiresAtMs, NOW + 90_000);
  const challenge = { nonce: randomBytes(32), audience: RELAY, nowMs: NOW };
  const proof = await signPossession(privateKey, challenge);
  assert.equal(await possessionFault(proof, value!.key, challenge), undefined);
  const another = { ...challenge, nonce: randomBytes(32) };
  assert.match((await possessionFault(proof, value!.key, another)) ?? '', /another challenge/);
  const stranger = await signPossession(makeKey().privateKey, challenge);
  assert.match((await possessionFault(stranger, value!.key, challenge)) ?? '', /algorithm/);
});

test('a device credential holds until its expiry and the tolerance of who checks it', async (t) => {
  const enrolment = await makeEnrolment(tempDir(t));
  const { credential } = await enrolment.device({
    deviceId: 'laptop',
    nowMs: NOW,
    expiresInMs: 60_000,
  });
  const keys = createLocalJWKSet(JSON.parse(readFileSync(enrolment.jwksFile, 'utf8')));
  const faultAt = async (offsetMs: number, toleranceS?: number) =>
    (
      await verifyDeviceCredential(credential, keys, {
        nowMs: NOW + offsetMs,
        ...(toleranceS === undefined ? {} : { toleranceS }),
      })
    ).error;
  assert.equal(await faultAt(89_000), undefined);
  assert.match((await faultAt(91_000)) ?? '', /expired/);
  assert.equal(await faultAt(119_000, 60), undefined);
});

test('[HOST-11] a claim that is not a name is refused with the grammar', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const keys = createLocalJWKSet(JSON.parse(readFileSync(issuer.jwksFile, 'utf8')));
  const rules = { issuer: issuer.issuer, audience: issuer.audience, nowMs: Date.now() };
  const faultOf = async (options: Parameters<typeof issuer.token>[0]) =>
    (await verifyAccessToken(await issuer.token(options), keys, rules)).error ?? '';
  assert.match(await faultOf({ tenant: 'a/b' }), /"tenant" is not a tenant name: up to 128/);
  assert.match(await faultOf({ user: 'a b' }), /"sub" is not a user name: up to 255/);
  assert.match(await faultOf({ roles: ['a b'] }), /"roles" is not a list/);
  assert.equal(await faultOf({ user: 'auth0|5f7c', roles: ['Prüfer'] }), '');
});
