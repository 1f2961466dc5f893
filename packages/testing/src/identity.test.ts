import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { eventually, makeEnrolment, makeTokenIssuer, tempDir } from './index.ts';

function keySet(file: string) {
  const keys: JSONWebKeySet = JSON.parse(readFileSync(file, 'utf8'));
  return createLocalJWKSet(keys);
}

test('a token verifies with the key set that the issuer wrote', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const token = await issuer.token({ tenant: 'south', roles: ['admin'] });
  const { payload } = await jwtVerify(token, keySet(issuer.jwksFile), {
    issuer: issuer.issuer,
    audience: issuer.audience,
  });
  assert.equal(payload.tenant, 'south');
  assert.deepEqual(payload.roles, ['admin']);
});

test('a device proves possession of the key in its credential', async (t) => {
  const enrolment = await makeEnrolment(tempDir(t));
  const device = await enrolment.device({ deviceId: 'laptop' });
  const { payload } = await jwtVerify(device.credential, keySet(enrolment.jwksFile), {
    typ: 'zl-device+jwt',
  });
  assert.equal(payload.sub, 'laptop');
  assert.equal((payload.cnf as { jwk: { x: string } }).jwk.x, device.key.publicJwk.x);
  const proof = await device.proof({ nonce: Buffer.alloc(32, 7), relayId: 'relay-1' });
  const proved = await jwtVerify(proof, device.key.publicKey, { audience: 'relay-1' });
  assert.equal(proved.payload.nonce, Buffer.alloc(32, 7).toString('base64url'));
});

test('eventually returns the first value, and fails with the last error', async () => {
  let tries = 0;
  assert.equal(await eventually(() => (++tries === 3 ? 'third' : undefined)), 'third');
  const never = eventually(() => assert.fail('not yet'), { timeoutMs: 1 });
  await assert.rejects(never, /not within 1 ms: not yet/);
});
