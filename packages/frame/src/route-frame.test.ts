import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  callKey,
  callKeyOf,
  copyForDevice,
  decodeFrame,
  deviceOf,
  encodeFrame,
  epochOf,
  isCanonical,
  kindOf,
  NO_CALL,
  offsetOf,
  rewriteDevice,
} from './index.ts';

const frame = {
  kind: 48,
  flags: 0,
  device: 0,
  callId: Uint8Array.from({ length: 16 }, (_, index) => index),
  offset: 70_000,
  epoch: 2 ** 40 + 3,
  payload: Buffer.from('result'),
};
/** Valid protobuf: kind, then payload, and nothing else. */
const sparse = Uint8Array.of(0x3a, 2, 5, 6, 0x0d, 48, 0, 0, 0);

test('the routing head is read at constant offsets', () => {
  const bytes = encodeFrame(frame);
  assert.ok(isCanonical(bytes));
  assert.equal(kindOf(bytes), 48);
  assert.equal(deviceOf(bytes), 0);
  assert.equal(epochOf(bytes), 2 ** 40 + 3);
  assert.equal(offsetOf(bytes), 70_000);
  assert.equal(callKeyOf(bytes), callKey(frame.callId));
});

test('rewriting a canonical frame changes only its device and epoch, in place', () => {
  const numbers = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(numbers, fc.option(fc.maxSafeNat(), { nil: undefined }), (device, epoch) => {
      const bytes = encodeFrame(frame);
      assert.equal(rewriteDevice(bytes, device, epoch), bytes);
      const expected = { ...frame, device, epoch: epoch ?? frame.epoch };
      assert.deepEqual(Buffer.from(bytes), encodeFrame(expected));
    }),
  );
});

test('a copy for another device leaves the original unchanged', () => {
  const bytes = encodeFrame(frame);
  const copy = copyForDevice(bytes, 9) ?? assert.fail();
  assert.equal(deviceOf(bytes), 0);
  assert.deepEqual(copy, encodeFrame({ ...frame, device: 9 }));
});

test('[RLY-01] rewriting a frame that is not canonical makes it canonical', () => {
  assert.equal(isCanonical(sparse), false);
  const bytes = rewriteDevice(sparse, 7, 4) ?? assert.fail();
  assert.ok(isCanonical(bytes));
  const { frame: read } = decodeFrame(bytes);
  assert.equal(read?.kind, 48);
  assert.equal(read?.device, 7);
  assert.equal(read?.epoch, 4);
  assert.deepEqual(Buffer.from(read?.callId ?? []), Buffer.from(NO_CALL));
  assert.deepEqual([...(read?.payload ?? [])], [5, 6]);
});

test('[RLY-01] bytes that are not a frame are not rewritten', () => {
  assert.equal(rewriteDevice(Uint8Array.of(0xff, 0xff), 7), undefined);
});
