import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  canonicalJson,
  digestOf,
  generateKeyPair,
  sealEnvelope,
  signerFromPem,
  verifyEnvelope,
} from '@zerolatency/signing';
import { RECEIPT_TYPE, type Receipt, signReceipt } from './receipt.ts';
import { verifyDeviceReceipt, verifyReceipt } from './verify-receipt.ts';

const hostKey = signerFromPem(generateKeyPair().privatePem);
const deviceKey = signerFromPem(generateKeyPair().privatePem);
const keys = { hostKeys: [hostKey.verifier()], deviceKeys: [deviceKey.verifier()] };

const call: Receipt = {
  role: 'device',
  callId: '0123456789abcdef0123456789abcdef',
  tool: 'fs.read',
  argumentsDigest: digestOf({ path: 'welcome.txt' }),
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

test('[TOOL-04] a receipt signed by both ends verifies and tells what both said', async () => {
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

test('a host may say failed or cancelled of what a device has done, and nothing more than that', async () => {
  const cancelled: Receipt = { ...failed, outcome: 'cancelled', errorId: 'call.cancelled' };
  assert.ok(verifyReceipt({ envelope: await asHost(failed, call), ...keys }).value);
  assert.ok(verifyReceipt({ envelope: await asHost(cancelled, call), ...keys }).value);
  const denied: Receipt = { ...failed, outcome: 'denied', errorId: 'policy.denied' };
  refused(await asHost(denied, call), /the host says denied, the device done/);
  refused(await asHost(call, failed), /the host says done, the device failed/);
});

test('a receipt is refused when the two ends speak of different things', async () => {
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
    /other end's/,
  );
  const altered = JSON.parse(JSON.stringify(await asHost(call, call)));
  altered.payload = Buffer.from('{}').toString('base64');
  refused(altered, /host: 0 good signatures/);
});

test('what is signed and yet no receipt is refused, and cannot be signed by mistake', async () => {
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

test('a host can check the device alone, before it writes its own', async () => {
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

test('a receipt is canonical JSON, whatever the order it was put together in', async () => {
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
