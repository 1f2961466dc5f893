import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  canonicalJson,
  digestOf,
  type Signer,
  signEnvelope,
  signerFromPem,
  verifyDocument,
} from '@zerolatency/signing';
import { makeKey } from '@zerolatency/testing';
import fc from 'fast-check';
import {
  allow,
  DAY_MS,
  NOW,
  policyKey,
  sampleBundle,
  sampleRequest,
  signed,
} from '../test/sample-bundle.ts';
import { decide, POLICY_BUNDLE } from './index.ts';

const keys = [policyKey.publicPem];
const signer: Signer = signerFromPem(policyKey.privatePem);

function fault(envelopeText: string, rules: Partial<Parameters<typeof verifyDocument>[2]> = {}) {
  const verified = verifyDocument(POLICY_BUNDLE, envelopeText, { keys, nowMs: NOW, ...rules });
  assert.ok('error' in verified, 'the bundle was accepted');
  assert.equal(verified.error.id, 'policy.invalid');
  return verified.error.message;
}

function seal(payload: Uint8Array, payloadType = POLICY_BUNDLE.payloadType): Promise<string> {
  return signEnvelope({ payloadType, payload, keys: [signer] });
}

test('[POL-02] a signed bundle is verified and identified by the digest of its content', async () => {
  const verified = verifyDocument(POLICY_BUNDLE, await signed(), { keys, nowMs: NOW });
  assert.ok('content' in verified);
  assert.deepEqual(verified.content, sampleBundle());
  assert.equal(verified.digest, digestOf(sampleBundle()));
  assert.deepEqual(verified.keyids, [policyKey.kid]);
  assert.equal(decide(verified.content, sampleRequest()).effect, 'allow');
});

test('a verified bundle cannot be changed afterwards', async () => {
  const verified = verifyDocument(POLICY_BUNDLE, await signed(), { keys, nowMs: NOW });
  assert.ok('content' in verified);
  const { rules } = verified.content as unknown as { rules: { effect: string }[] };
  assert.throws(() => rules.pop(), TypeError);
  assert.throws(() => Object.assign(rules[0]!, { effect: 'deny' }), TypeError);
});

test('[POL-02] an unsigned bundle and one of an unknown key are refused', async () => {
  const unsigned = JSON.stringify({ ...JSON.parse(await signed()), signatures: [] });
  fault(unsigned);
  fault(await signed({}, makeKey()));
  fault(await signed(), { keys: [] });
  fault(await signed(), { keys: [makeKey().publicPem] });
});

test('[POL-02] one valid signature is enough while keys rotate', async () => {
  const other = makeKey();
  const nowMs = NOW;
  assert.ok(
    'content' in
      verifyDocument(POLICY_BUNDLE, await signed(), { keys: [other.publicPem, ...keys], nowMs }),
  );
});

test('[POL-02] a bundle altered anywhere is refused', async () => {
  const envelope: { payload: string } = JSON.parse(await signed());
  const payload = Buffer.from(envelope.payload, 'base64');
  fc.assert(
    fc.property(fc.nat(payload.length - 1), fc.integer({ min: 1, max: 255 }), (index, bits) => {
      const altered = Buffer.from(payload);
      altered.writeUInt8(altered.readUInt8(index) ^ bits, index);
      fault(JSON.stringify({ ...envelope, payload: altered.toString('base64') }));
    }),
  );
});

test('a document signed for another purpose is not a bundle', async () => {
  fault(await seal(canonicalJson(sampleBundle()), 'application/json'));
});

test('signed content that is ambiguous is refused', async () => {
  const text = Buffer.from(canonicalJson(sampleBundle())).toString();
  assert.match(fault(await seal(Buffer.from(` ${text}`))), /canonical/);
  const twice = text.replace('"rules":', '"rules":[],"rules":');
  assert.match(fault(await seal(Buffer.from(twice))), /canonical/);
  assert.match(fault(await seal(Buffer.from([0xff, 0xfe]))), /canonical/);
  assert.match(fault(await seal(Buffer.from('"text"'))), /not a policy bundle/);
});

test('garbage is refused without a throw', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => fault(text) !== ''));
});

test('[POL-02] a bundle past its grace is refused, and one in its grace is not', async () => {
  const envelope = await signed({ graceMs: DAY_MS });
  assert.match(fault(envelope, { nowMs: NOW + 8 * DAY_MS }), /expired at 2030-01-08/);
  assert.ok(
    'content' in verifyDocument(POLICY_BUNDLE, envelope, { keys, nowMs: NOW + 8 * DAY_MS - 1 }),
  );
  assert.match(fault(await signed(), { nowMs: NOW + 7 * DAY_MS }), /expired/);
});

test('[POL-02] a bundle from the future is refused, apart from clock skew', async () => {
  const skewMs = 5 * 60 * 1000;
  assert.ok(
    'content' in verifyDocument(POLICY_BUNDLE, await signed(), { keys, nowMs: NOW - skewMs }),
  );
  assert.match(fault(await signed(), { nowMs: NOW - skewMs - 1 }), /in the future/);
});

test('[POL-02] a rollback is refused, and so is other content of the same version', async () => {
  const floor = { id: 'default', version: 3, digest: digestOf(sampleBundle({ version: 3 })) };
  assert.match(fault(await signed({ version: 2 }), { floor }), /2 is older than 3/);
  const twin = await signed({ version: 3, rules: [allow({ tools: ['*'] })] });
  assert.match(fault(twin, { floor }), /differs from the version 3/);
  assert.match(fault(await signed({ id: 'other', version: 9 }), { floor }), /follows default/);
  for (const version of [3, 4]) {
    assert.ok(
      'content' in
        verifyDocument(POLICY_BUNDLE, await signed({ version }), { keys, nowMs: NOW, floor }),
    );
  }
});

test('signing refuses content that no reader would accept', async () => {
  await assert.rejects(signed({ version: 0 }), /version/);
});

test('[OBS-02] a refusal has a reason for counters beside its message', async () => {
  const reasonOf = (
    envelope: string,
    rules: Partial<Parameters<typeof verifyDocument>[2]> = {},
  ) => {
    const verified = verifyDocument(POLICY_BUNDLE, envelope, { keys, nowMs: NOW, ...rules });
    return 'error' in verified ? verified.error.reason : 'accepted';
  };
  const altered = { ...JSON.parse(await signed()), payload: Buffer.from('{}').toString('base64') };
  const floor = { id: 'default', version: 3, digest: digestOf(sampleBundle({ version: 3 })) };
  const reasons = [
    reasonOf('garbage'),
    reasonOf(await seal(canonicalJson({ no: 'bundle' }))),
    reasonOf(await seal(canonicalJson(sampleBundle()), 'application/json')),
    reasonOf(await seal(Buffer.from('{ }'))),
    reasonOf(JSON.stringify(altered)),
    reasonOf(await signed({}, makeKey())),
    reasonOf(await signed(), { nowMs: NOW + 7 * DAY_MS }),
    reasonOf(await signed(), { nowMs: NOW - DAY_MS }),
    reasonOf(await signed({ version: 2 }), { floor }),
    reasonOf(await signed({ version: 3 }), { floor }),
  ];
  assert.deepEqual(reasons, [
    'malformed',
    'malformed',
    'malformed',
    'malformed',
    'signature',
    'signature',
    'expired',
    'not_yet',
    'rolled_back',
    'accepted',
  ]);
});
