import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateKeyPair, signerFromPem, verifierFromJwk } from '@zerolatency/signing';
import { assertOrigin, noteVerifierKey, signCheckpoint, verifyCheckpoint } from './checkpoint.ts';

const signer = signerFromPem(generateKeyPair().privatePem);
const keys = [signer.verifier()];
const LEDGER_ID = '0123456789abcdef'.repeat(2);
const NAME = `zerolatency/test/${LEDGER_ID}`;
const checkpoint = {
  origin: 'zerolatency/test',
  ledgerId: LEDGER_ID,
  size: 12,
  root: Buffer.alloc(32, 7),
};
const note = await signCheckpoint(checkpoint, signer);

test('[AUD-01] a checkpoint is a signed note of origin, ledger id, size and root', () => {
  const lines = note.split('\n');
  assert.deepEqual(lines.slice(0, 4), [NAME, '12', checkpoint.root.toString('base64'), '']);
  assert.match(lines[4] ?? '', new RegExp(`^\u2014 ${NAME} [A-Za-z0-9+/]{91}=$`));
  assert.deepEqual(verifyCheckpoint(note, keys).value, checkpoint);
});

test("the key hash is that of the published example of Go's sumdb/note", () => {
  // PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
  const x = Buffer.from('GlzZBxQ8OExB6DDFvOEqqIF+xWSaqr8sMTiLNbLXRNY=', 'base64').toString(
    'base64url',
  );
  const verifier = verifierFromJwk({ kty: 'OKP', crv: 'Ed25519', x });
  const expected = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
  assert.equal(noteVerifierKey('PeterNeumann', verifier), expected);
});

test('a flipped bit anywhere in a checkpoint is noticed', () => {
  const bytes = Buffer.from(note);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const altered = Buffer.from(bytes);
    altered[bit >> 3]! ^= 1 << (bit & 7);
    assert.ok(verifyCheckpoint(altered.toString('utf8'), keys).error, `bit ${bit}`);
  }
});

test('witness co-signatures are accepted but are not sufficient', async () => {
  const witness = signerFromPem(generateKeyPair().privatePem);
  const line = (await signCheckpoint(checkpoint, witness)).split('\n\n')[1];
  assert.deepEqual(verifyCheckpoint(note + line, keys).value, checkpoint);
  assert.match(verifyCheckpoint(note, [witness.verifier()]).error ?? '', /no known key/);
});

test('text that is not a checkpoint is refused', () => {
  for (const text of ['', '\n\n', 'a\nb\n\nc\n', note.trim(), note.repeat(2000), 'a\n1\n\n']) {
    assert.ok(verifyCheckpoint(text, keys).error);
  }
  for (const size of ['-1', '01', '1e3', '1.5', '9007199254740993']) {
    assert.ok(verifyCheckpoint(note.replace('\n12\n', `\n${size}\n`), keys).error);
  }
});

test('a signed size that counts no records is refused, and one of an empty ledger is not', async () => {
  const sizeOf = async (size: number) =>
    verifyCheckpoint(await signCheckpoint({ ...checkpoint, size }, signer), keys).value?.size;
  assert.equal(await sizeOf(0), 0);
  for (const size of [-1, 1.5, 2 ** 53, 1e21]) assert.equal(await sizeOf(size), undefined);
});

test('an origin that does not fit into a note is refused', () => {
  for (const origin of ['', 'a b', 'a+b', 'a\nb', 'x'.repeat(201), 'a\u00a0b']) {
    assert.throws(() => assertOrigin(origin), { id: 'config.invalid' });
  }
  assertOrigin('zerolatency/host-1');
});

test('a P-256 key can neither sign nor verify a checkpoint', async () => {
  const es256 = signerFromPem(generateKeyPair('ES256').privatePem);
  await assert.rejects(signCheckpoint(checkpoint, es256), { id: 'config.invalid' });
  assert.match(verifyCheckpoint(note, [es256.verifier()]).error ?? '', /no known key/);
});
