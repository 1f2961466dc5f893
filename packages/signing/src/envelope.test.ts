import assert from 'node:assert/strict';
import {
  createPrivateKey,
  createPublicKey,
  ECDH,
  generateKeyPairSync,
  type JsonWebKey,
} from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  MAX_ENVELOPE_BYTES,
  preAuthenticationEncoding,
  signEnvelope,
  verifyEnvelope,
} from './envelope.ts';
import { generateKeyPair, signerFromPem, verifierFromJwk, verifierFromPem } from './keys.ts';

const PAYLOAD_TYPE = 'application/vnd.zerolatency.test.v1+json';
const pair = generateKeyPair();
const signer = signerFromPem(pair.privatePem);
const stranger = generateKeyPair();
const other = signerFromPem(generateKeyPair().privatePem);
const keys = [verifierFromPem(pair.publicPem)];
const payload = Buffer.from('{"answer":42}');

test('the signature covers the pre-authentication encoding of DSSE', () => {
  const bytes = preAuthenticationEncoding(
    'http://example.com/HelloWorld',
    Buffer.from('hello world'),
  );
  const expected = 'DSSEv1 29 http://example.com/HelloWorld 11 hello world';
  assert.equal(Buffer.from(bytes).toString(), expected);
  const accented = Buffer.from(preAuthenticationEncoding('é', Buffer.of(0, 255)));
  assert.deepEqual(accented, Buffer.from('DSSEv1 2 Ã© 2 \0\xff', 'latin1'));
});

function signerOf(jwk: JsonWebKey) {
  const key = createPrivateKey({ key: jwk, format: 'jwk' });
  return signerFromPem(key.export({ type: 'pkcs8', format: 'pem' }).toString());
}

test('Ed25519 keys pass the published test vector (RFC 8032, test 2)', async () => {
  const jwk = {
    kty: 'OKP',
    crv: 'Ed25519',
    d: Buffer.from(
      '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
      'hex',
    ).toString('base64url'),
    x: Buffer.from(
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      'hex',
    ).toString('base64url'),
  };
  const signature = Buffer.from(await signerOf(jwk).sign(Buffer.of(0x72))).toString('hex');
  assert.equal(
    signature,
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  );
  const verifier = verifierFromJwk({ kty: jwk.kty, crv: jwk.crv, x: jwk.x });
  assert.ok(verifier.verify(Buffer.of(0x72), Buffer.from(signature, 'hex')));
  assert.equal(verifier.keyid, signerOf(jwk).keyid);
});

test('verifying returns exactly the bytes that were signed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const text = await signEnvelope({
        payloadType: PAYLOAD_TYPE,
        payload: bytes,
        keys: [signer],
      });
      for (const input of [text, Buffer.from(text), JSON.parse(text)]) {
        const { value } = verifyEnvelope(input, { payloadType: PAYLOAD_TYPE, keys });
        assert.deepEqual(Buffer.from(value!.payload), Buffer.from(bytes));
        assert.deepEqual(value!.keyids, [pair.keyid]);
      }
    }),
    { numRuns: 30 },
  );
});

test('flipping any bit of an envelope but those of the key id makes it invalid', async () => {
  const text = Buffer.from(
    await signEnvelope({ payloadType: PAYLOAD_TYPE, payload, keys: [signer] }),
  );
  const hint = text.indexOf(signer.keyid);
  for (let bit = 0; bit < text.length * 8; bit++) {
    const at = bit >> 3;
    const altered = Buffer.from(text);
    altered[at]! ^= 1 << (bit & 7);
    const { error, value } = verifyEnvelope(altered, { payloadType: PAYLOAD_TYPE, keys });
    if (at < hint || at >= hint + signer.keyid.length) assert.ok(error, `bit ${bit}`);
    else if (error === undefined) assert.deepEqual(value.keyids, [signer.keyid]);
  }
});

test('a key id is a hint: every key is tried, and the one that signed is named', async () => {
  const text = await signEnvelope({ payloadType: PAYLOAD_TYPE, payload, keys: [signer] });
  const rules = { payloadType: PAYLOAD_TYPE, keys: [verifierFromPem(stranger.publicPem), ...keys] };
  for (const hint of ['', 'SHA256:of-another-tool', other.keyid]) {
    const { value } = verifyEnvelope(text.replaceAll(signer.keyid, hint), rules);
    assert.deepEqual(value?.keyids, [signer.keyid], hint);
  }
  const misnamed = text.replaceAll(signer.keyid, stranger.keyid);
  assert.equal(verifyEnvelope(misnamed, rules).error?.fault, 'bad_signature');
});

test('payload and signature may be written in the alphabet of URLs', async () => {
  const bytes = Buffer.from([0xfb, 0xff, 0xfe, 0xfb, 0xff, 0xfe]);
  const text = await signEnvelope({ payloadType: PAYLOAD_TYPE, payload: bytes, keys: [signer] });
  const { signatures, ...rest } = JSON.parse(text);
  const forUrls = (base64: string) => base64.replaceAll('+', '-').replaceAll('/', '_');
  const [{ keyid, sig }] = signatures;
  const envelope = {
    ...rest,
    payload: forUrls(rest.payload),
    signatures: [{ keyid, sig: forUrls(sig) }],
  };
  const rules = { payloadType: PAYLOAD_TYPE, keys };
  assert.deepEqual(Buffer.from(verifyEnvelope(envelope, rules).value!.payload), bytes);
});

test('each refusal names its fault', async () => {
  const good = JSON.parse(
    await signEnvelope({ payloadType: PAYLOAD_TYPE, payload, keys: [signer] }),
  );
  const signature = good.signatures[0];
  const cases: [unknown, string][] = [
    [{ ...good, payloadType: 'application/json' }, 'payload_type'],
    [{ ...good, payload: Buffer.from('{"answer":43}').toString('base64') }, 'bad_signature'],
    [{ ...good, payload: `${good.payload}!` }, 'malformed'],
    [{ ...good, payload: good.payload.replaceAll('=', '') }, 'malformed'],
    [{ ...good, signatures: [{ ...signature, sig: '' }] }, 'bad_signature'],
    [{ ...good, signatures: [] }, 'unknown_key'],
    [{ ...good, signatures: Array(17).fill(signature) }, 'malformed'],
    [{ ...good, signatures: [{ sig: signature.sig }] }, 'malformed'],
    [
      JSON.parse(await signEnvelope({ payloadType: PAYLOAD_TYPE, payload, keys: [other] })),
      'unknown_key',
    ],
    [null, 'malformed'],
    ['{', 'malformed'],
    [Buffer.of(0x22, 0xff, 0x22), 'malformed'],
    ['"'.padEnd(MAX_ENVELOPE_BYTES + 1), 'too_large'],
  ];
  for (const [input, fault] of cases) {
    assert.equal(verifyEnvelope(input, { payloadType: PAYLOAD_TYPE, keys }).error?.fault, fault);
  }
});

test('verifying never throws, whatever a peer sends', () => {
  const input = fc.oneof(fc.jsonValue(), fc.json(), fc.uint8Array(), fc.anything());
  fc.assert(
    fc.property(input, (value) => {
      assert.ok(verifyEnvelope(value, { payloadType: PAYLOAD_TYPE, keys }).error);
    }),
  );
});

test('every key with a valid signature is named once', async () => {
  const rules = { payloadType: PAYLOAD_TYPE, keys: [...keys, other.verifier()] };
  const text = await signEnvelope({
    payloadType: PAYLOAD_TYPE,
    payload,
    keys: [signer, signer, other],
  });
  assert.deepEqual(verifyEnvelope(text, rules).value?.keyids, [signer.keyid, other.keyid]);
});

test('one valid signature is enough beside one of an unknown key', async () => {
  const text = await signEnvelope({ payloadType: PAYLOAD_TYPE, payload, keys: [other, signer] });
  assert.deepEqual(verifyEnvelope(text, { payloadType: PAYLOAD_TYPE, keys }).value?.keyids, [
    signer.keyid,
  ]);
});

test('P-256 keys sign and verify, from PEM and JWK, with the 64 bytes of IEEE P1363', async () => {
  const made = generateKeyPair('ES256');
  const es256 = signerFromPem(made.privatePem);
  const fromJwk = signerOf(createPrivateKey(made.privatePem).export({ format: 'jwk' }));
  assert.equal(es256.algorithm, 'ES256');
  assert.equal(es256.publicKey.length, 65);
  assert.equal((await es256.sign(payload)).length, 64);
  for (const by of [es256, fromJwk]) {
    assert.equal(by.keyid, made.keyid);
    const text = await signEnvelope({ payloadType: PAYLOAD_TYPE, payload, keys: [by] });
    const rules = { payloadType: PAYLOAD_TYPE, keys: [verifierFromPem(made.publicPem)] };
    assert.deepEqual(verifyEnvelope(text, rules).value?.keyids, [made.keyid]);
    assert.ok(verifyEnvelope(text, { payloadType: PAYLOAD_TYPE, keys }).error);
    const altered = Buffer.from(await by.sign(payload));
    altered[40]! ^= 1;
    assert.equal(by.verifier().verify(payload, altered), false);
  }
});

test('P-256 keys pass the published test vector (RFC 7515, appendix A.3)', () => {
  const verifier = verifierFromJwk({
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  });
  const signed =
    'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ';
  const signature =
    'DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q';
  assert.ok(verifier.verify(Buffer.from(signed), Buffer.from(signature, 'base64url')));
});

test('a compressed point gives a P-256 key the same id', () => {
  const { publicPem, keyid } = generateKeyPair('ES256');
  const der = createPublicKey(publicPem).export({ type: 'spki', format: 'der' });
  const point = ECDH.convertKey(
    der.subarray(-65),
    'prime256v1',
    undefined,
    undefined,
    'compressed',
  );
  const prefix = Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex');
  const body = Buffer.concat([prefix, Buffer.from(point)]).toString('base64');
  const compressed = `-----BEGIN PUBLIC KEY-----\n${body}\n-----END PUBLIC KEY-----\n`;
  assert.equal(verifierFromPem(compressed).keyid, keyid);
});

test('keys of another algorithm, and texts that are not keys, are refused', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  assert.throws(() => verifierFromPem(pem), {
    id: 'config.invalid',
    message: /rsa, not ed25519 or P-256/,
  });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
  const p384Pem = p384.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  assert.throws(() => verifierFromPem(p384Pem), { id: 'config.invalid', message: /secp384r1/ });
  assert.throws(() => signerFromPem('-----'), { id: 'config.invalid' });
  assert.throws(() => signerFromPem(pair.publicPem), { id: 'config.invalid' });
  assert.throws(() => verifierFromJwk({ kty: 'OKP' }), { id: 'config.invalid' });
});
