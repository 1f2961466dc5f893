import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { exportJWK, SignJWT } from 'jose';
import { signPossession } from './device-credential.ts';
import { signEnrolmentProof, verifyEnrolmentProof } from './enrolment-proof.ts';

const KEYS = {
  Ed25519: generateKeyPairSync('ed25519').privateKey,
  'P-256': generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey,
};
const CLAIM = { codeHash: 'hash', audience: 'https://registrar.test', nowMs: 1_800_000_000_000 };

async function jwkOf(key: KeyObject) {
  return JSON.stringify(await exportJWK(createPublicKey(key)));
}

for (const [name, key] of Object.entries(KEYS)) {
  test(`[BRG-04] a proof by a key of ${name} holds for its code, registrar and time`, async () => {
    const signed = await signEnrolmentProof(key, CLAIM);
    const { value } = await verifyEnrolmentProof(signed, CLAIM);
    assert.ok(value?.equals(createPublicKey(key)));
    assert.equal(JSON.parse(signed.jwk).d, undefined);
    for (const [change, fault] of [
      [{ codeHash: 'other' }, /another code/],
      [{ audience: 'https://other.test' }, /not for https:\/\/other\.test/],
      [{ nowMs: CLAIM.nowMs + 301_000 }, /5 min behind/],
      [{ nowMs: CLAIM.nowMs - 301_000 }, /5 min ahead/],
    ] as const) {
      const { error } = await verifyEnrolmentProof(signed, { ...CLAIM, ...change });
      assert.match(error ?? '', fault);
    }
  });
}

test('[BRG-04] a proof by another key, of another type or without a signature is refused', async () => {
  const signed = await signEnrolmentProof(KEYS.Ed25519, CLAIM);
  const other = generateKeyPairSync('ed25519').privateKey;
  const faultOf = async (sent: Partial<typeof signed>) =>
    (await verifyEnrolmentProof({ ...signed, ...sent }, CLAIM)).error ?? '';
  assert.match(await faultOf({ jwk: await jwkOf(other) }), /signature does not hold/);
  assert.match(await faultOf({ jwk: await jwkOf(KEYS['P-256']) }), /algorithm is not allowed/);
  const { audience, nowMs } = CLAIM;
  const proof = await signPossession(KEYS.Ed25519, { nonce: new Uint8Array(8), audience, nowMs });
  assert.match(await faultOf({ proof }), /another type/);
  const unsigned = `${signed.proof.split('.').slice(0, 2).join('.')}.`;
  assert.match(await faultOf({ proof: unsigned }), /signature does not hold|cannot be read/);
  const undated = await new SignJWT({ code_hash: CLAIM.codeHash })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-enrolment+jwt' })
    .setAudience(audience)
    .sign(KEYS.Ed25519);
  assert.match(await faultOf({ proof: undated }), /claim "iat"/);
});

test('[BRG-04] a key that is none of ours is refused, whatever it is', async () => {
  const signed = await signEnrolmentProof(KEYS.Ed25519, CLAIM);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey;
  const [x, y] = ['AA', 'AA'];
  for (const jwk of [
    '',
    'null',
    '[]',
    '{',
    '{"kty":"oct","k":"AAAA"}',
    JSON.stringify({ kty: 'EC', crv: 'P-256', x, y }),
    JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x }),
    await jwkOf(rsa),
    await jwkOf(p384),
  ]) {
    const { error } = await verifyEnrolmentProof({ ...signed, jwk }, CLAIM);
    assert.match(error ?? '', /not a public JWK|signature does not hold|cannot be read/, jwk);
  }
});
