import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  canonicalJson,
  digestOf,
  digestOfBytes,
  generateKeyPair,
  sealEnvelope,
  signerFromPem,
  verifyEnvelope,
} from '@zerolatency/signing';
import { argumentsDigest, newArgumentSalt } from './arguments-digest.ts';
import {
  RECEIPT_TYPE,
  type Receipt,
  signReceipt,
  verifyDeviceReceipt,
  verifyReceipt,
} from './receipt.ts';

const hostKey = signerFromPem(generateKeyPair().privatePem);
const deviceKey = signerFromPem(generateKeyPair().privatePem);
const keys = { hostKeys: [hostKey.verifier()], deviceKeys: [deviceKey.verifier()] };

const salt = newArgumentSalt();
const call: Receipt = {
  role: 'device',
  executor: 'device',
  callId: '0123456789abcdef0123456789abcdef',
  tool: 'fs.read',
  argumentsDigest: argumentsDigest(salt, canonicalJson({ path: 'welcome.txt' })),
  resultDigest: digestOf({ content: 'hello' }),
  outcome: 'done',
  caps: { timeoutMs: 10_000, maxBytes: 65_536 },
  elapsedUs: 1_234,
  startedAt: '2026-01-02T03:04:05.678Z',
  policyId: 'local',
  policyDigest: digestOf({ rules: [] }),
  deviceId: 'laptop',
  tenant: 'local',
  user: 'me',
};
const { resultDigest: _, ...withoutResult } = call;
const failed: Receipt = { ...withoutResult, outcome: 'failed', errorId: 'tool.failed' };
const asDevice = (receipt: Receipt) => signReceipt(receipt, deviceKey);
const asHost = async (receipt: Receipt, device?: Receipt) =>
  signReceipt({ ...receipt, role: 'host', device: device && (await asDevice(device)) }, hostKey);

test('[TOOL-04] a receipt signed by both ends verifies and holds both statements', async () => {
  const envelope = await asHost({ ...call, turnId: 't1', elapsedUs: 2_000 }, call);
  for (const input of [envelope, JSON.stringify(envelope), Buffer.from(JSON.stringify(envelope))]) {
    const { value } = verifyReceipt({ envelope: input, ...keys });
    assert.equal(value?.receipt.elapsedUs, 2_000);
    assert.deepEqual(value?.device, call);
  }
});

test('[TOOL-04] failed, denied, cancelled and unknown calls have receipts, with or without a device', async () => {
  for (const outcome of ['failed', 'denied', 'cancelled', 'unknown'] as const) {
    const receipt: Receipt = { ...failed, outcome, errorId: 'call.unknown_outcome' };
    assert.ok(verifyReceipt({ envelope: await asHost(receipt, receipt), ...keys }).value);
    assert.ok(verifyReceipt({ envelope: await asHost(receipt), ...keys }).value);
  }
  const { policyId: _id, policyDigest: _digest, ...rest } = failed;
  const unavailable: Receipt = { ...rest, outcome: 'denied', errorId: 'policy.unavailable' };
  assert.ok(verifyReceipt({ envelope: await asHost(unavailable), ...keys }).value);
});

test('a host may call a result of the device failed or cancelled, and nothing else', async () => {
  const cancelled: Receipt = { ...failed, outcome: 'cancelled', errorId: 'call.cancelled' };
  assert.ok(verifyReceipt({ envelope: await asHost(failed, call), ...keys }).value);
  assert.ok(verifyReceipt({ envelope: await asHost(cancelled, call), ...keys }).value);
  const denied: Receipt = { ...failed, outcome: 'denied', errorId: 'policy.denied' };
  refused(await asHost(denied, call), /the host says denied, the device says done/);
  refused(await asHost(call, failed), /the host says done, the device says failed/);
});

test('a receipt is refused when its two ends disagree on a fact', async () => {
  const others: Partial<Receipt>[] = [
    { callId: 'f'.repeat(32) },
    { tool: 'fs.write' },
    { argumentsDigest: digestOf({}) },
    { resultDigest: digestOf({}) },
    { deviceId: 'desktop' },
    { tenant: 'other' },
    { user: 'you' },
  ];
  for (const change of others) {
    refused(
      await asHost(call, { ...call, ...change }),
      new RegExp(`differ in ${Object.keys(change)[0]}`),
    );
  }
});

test('a receipt is refused when either signature, role or part is missing or wrong', async () => {
  refused(await asHost(call), /without the device's receipt/);
  const { deviceId: _id, ...withoutDevice } = call;
  refused(await asHost(withoutDevice), /without the device's receipt/);
  refused(await asDevice(call), /host: signed by 0 known keys/);
  const stranger = signerFromPem(generateKeyPair().privatePem);
  const byStranger = await signReceipt(call, stranger);
  refused(
    await signReceipt({ ...call, role: 'host', device: byStranger }, hostKey),
    /device: signed by 0/,
  );
  const hostSaysDevice = { hostKeys: keys.deviceKeys, deviceKeys: keys.deviceKeys };
  assert.match(
    verifyReceipt({ envelope: await asDevice(call), ...hostSaysDevice }).error?.message ?? '',
    /the host's receipt has the role device/,
  );
  const altered = JSON.parse(JSON.stringify(await asHost(call, call)));
  altered.payload = Buffer.from('{}').toString('base64');
  refused(altered, /host: 0 good signatures/);
});

test('a signed payload that is not a receipt is refused, and cannot be signed by mistake', async () => {
  for (const payload of [Buffer.of(0xff), Buffer.from('{'), canonicalJson({ ...call, extra: 1 })]) {
    const envelope = await sealEnvelope({ payloadType: RECEIPT_TYPE, payload, keys: [hostKey] });
    refused(envelope, /host: (the payload is not JSON|extra is not a known field)/);
  }
  const wrong: [Partial<Receipt>, RegExp][] = [
    [{ outcome: 'failed' }, /errorId is required/],
    [{ errorId: 'internal' }, /errorId is not allowed/],
    [{ resultDigest: undefined }, /resultDigest is required/],
    [{ deviceId: undefined }, /deviceId is required/],
    [{ device: await asDevice(call) }, /device is not allowed/],
    [{ callId: 'x' }, /callId must match/],
    [{ elapsedUs: 0.5 }, /elapsedUs must be integer/],
  ];
  for (const [change, message] of wrong) {
    await assert.rejects(asDevice({ ...call, ...change }), { id: 'receipt.invalid', message });
  }
});

test('a receipt of a call that the host executed verifies without a device', async () => {
  const byHost: Receipt = { ...call, role: 'host', executor: 'host' };
  const { value } = verifyReceipt({ envelope: await signReceipt(byHost, hostKey), ...keys });
  assert.deepEqual([value?.receipt.executor, value?.device], ['host', undefined]);
  await assert.rejects(asHost(byHost, call), { id: 'receipt.invalid', message: /device is not/ });
  await assert.rejects(asDevice({ ...call, executor: 'host' }), /executor must be "device"/);
  await assert.rejects(asHost({ ...call, executor: 'hots' as 'host' }), /executor must be one of/);
});

test('a receipt of a later version is refused as newer, and one of another type as what it is', async () => {
  const sealed = (payloadType: string) =>
    sealEnvelope({ payloadType, payload: canonicalJson(call), keys: [hostKey] });
  const later = await sealed(RECEIPT_TYPE.replace('v1', 'v2'));
  refused(later, /host: version 2 of the receipt is newer than this program/);
  refused(JSON.stringify(later, null, 2), /version 2 of the receipt is newer/);
  refused(Buffer.from(JSON.stringify(later)), /version 2 of the receipt is newer/);
  refused(await sealed('application/json'), /payloadType is not/);
});

test('[AUD-01] the digest of arguments can be checked with their salt, and with no other', async () => {
  const bytes = canonicalJson({ path: 'welcome.txt' });
  assert.equal(argumentsDigest(salt, bytes), call.argumentsDigest);
  assert.notEqual(argumentsDigest(newArgumentSalt(), bytes), call.argumentsDigest);
  assert.notEqual(argumentsDigest(salt, canonicalJson({ path: 'x' })), call.argumentsDigest);
  const salted = Buffer.concat([salt, bytes]);
  assert.equal(call.argumentsDigest, digestOfBytes(salted), 'SHA-256 of salt and arguments');
});

test("a host can verify the device's receipt before it writes its own", async () => {
  const { value } = verifyDeviceReceipt({
    envelope: await asDevice(call),
    deviceKeys: keys.deviceKeys,
  });
  assert.deepEqual(value, call);
  const { error } = verifyDeviceReceipt({
    envelope: await asHost(call, call),
    deviceKeys: keys.hostKeys,
  });
  assert.equal(error?.id, 'receipt.invalid');
});

test('a receipt is canonical JSON whatever the order of its fields was', async () => {
  const reversed = Object.fromEntries(Object.entries(call).reverse()) as never;
  assert.deepEqual(await asDevice(reversed), await asDevice(call));
  const rules = { payloadType: RECEIPT_TYPE, keys: keys.deviceKeys };
  const { value } = verifyEnvelope(await asDevice(call), rules);
  assert.deepEqual(Buffer.from(value!.payload), Buffer.from(canonicalJson(call)));
});

function refused(envelope: unknown, message: RegExp): void {
  const { error } = verifyReceipt({ envelope, ...keys });
  assert.equal(error?.id, 'receipt.invalid');
  assert.match(error?.message ?? '', message);
}
