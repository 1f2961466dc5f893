import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  callKey,
  callKeyOf,
  decodeFrame,
  deviceOf,
  encodeFrame,
  epochOf,
  isCanonical,
  isKnownKind,
  kindOf,
  NO_CALL,
  offsetOf,
  setDevice,
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

test('setting the device of a frame changes nothing else', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (device) => {
      const bytes = encodeFrame(frame);
      setDevice(bytes, device);
      assert.deepEqual(bytes, encodeFrame({ ...frame, device }));
    }),
  );
});

test('a frame in another valid encoding is not canonical', () => {
  assert.equal(isCanonical(sparse), false);
  const { frame: read } = decodeFrame(sparse);
  assert.equal(read?.kind, 48);
  assert.deepEqual(Buffer.from(read?.callId ?? []), Buffer.from(NO_CALL));
  assert.deepEqual([...(read?.payload ?? [])], [5, 6]);
});

test('the kinds that no peer ever gets are unknown, and the others of their ranges known', () => {
  for (const kind of [15, 31, 47, 63, 64, 2 ** 32 - 1]) assert.equal(isKnownKind(kind), false);
  for (const kind of [0, 1, 16, 32, 48]) assert.ok(isKnownKind(kind), `${kind}`);
});
