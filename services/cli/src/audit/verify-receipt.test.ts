import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Receipt, signReceipt } from '@zerolatency/receipts';
import { digestOf, generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { readVerifiedReceipt } from './verify-receipt.ts';

test('the receipt of a call that the host executed needs no receipt of a device', async (t) => {
  const { privatePem, publicPem } = generateKeyPair();
  const pem = join(tempDir(t), 'key.pem');
  await writeFile(pem, publicPem);
  const byHost: Receipt = {
    role: 'host',
    executor: 'host',
    callId: '0123456789abcdef0123456789abcdef',
    tool: 'clock.now',
    argumentsDigest: digestOf({}),
    resultDigest: digestOf('noon'),
    outcome: 'done',
    caps: {},
    elapsedUs: 1,
    startedAt: '2026-01-02T03:04:05.000Z',
    policyId: 'local@1',
    policyDigest: digestOf({ rules: [] }),
    tenant: 'north',
    user: 'user-1',
  };
  const signer = signerFromPem(privatePem);
  const read = async (receipt: Receipt) =>
    readVerifiedReceipt(JSON.stringify(await signReceipt(receipt, signer)), {
      host: pem,
      device: pem,
    });
  const { receipt, device } = await read(byHost);
  assert.deepEqual([receipt.executor, device], ['host', undefined]);
  await assert.rejects(read({ ...byHost, executor: 'device', deviceId: 'laptop' }), {
    id: 'receipt.invalid',
    message: /without the device's receipt/,
  });
});
