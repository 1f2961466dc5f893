import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FrameSchema } from '@zerolatency/proto/frame';
import fc from 'fast-check';
import {
  callIdFromKey,
  callKey,
  decodeFrame,
  encodeFrame,
  type Frame,
  isCanonical,
  NO_CALL,
} from './index.ts';

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const uint53 = fc.oneof(fc.maxSafeNat(), fc.constant(Number.MAX_SAFE_INTEGER), fc.nat());
const sizes = fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 70_000);
const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  sizes.map((size) => new Uint8Array(size).fill(7)),
);
const frames: fc.Arbitrary<Frame> = fc.record({
  kind: uint32,
  flags: uint32,
  device: uint32,
  callId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  offset: uint53,
  epoch: uint53,
  payload: payloads,
});

function generatedBytes(frame: Frame): Uint8Array {
  const { offset, epoch, ...rest } = frame;
  const message = { ...rest, offset: BigInt(offset), epoch: BigInt(epoch) };
  return toBinary(FrameSchema, create(FrameSchema, message));
}

/**
 * What the generated codec reads, with the defaults that the proto file gives; undefined if
 * invalid, or if a known field has the wrong wire type, which the generated codec does not check.
 */
function generatedFrame(bytes: Uint8Array): Frame | undefined {
  if (hasWrongWireType(bytes)) return undefined;
  let message: ReturnType<typeof read>;
  try {
    message = read(bytes);
  } catch {
    return undefined;
  }
  const callId = message.callId?.length ? message.callId : NO_CALL;
  const offset = message.offset ?? 0n;
  const epoch = message.epoch ?? 0n;
  if (callId.length !== 16 || offset >= 1n << 53n || epoch >= 1n << 53n) return undefined;
  return {
    kind: message.kind ?? 0,
    flags: message.flags ?? 0,
    device: message.device ?? 0,
    callId,
    offset: Number(offset),
    epoch: Number(epoch),
    payload: message.payload ?? new Uint8Array(0),
  };
}

const read = (bytes: Uint8Array) => fromBinary(FrameSchema, bytes);

/** The wire types of the fields 1 to 7, by the proto file and the encoding's specification. */
const WIRE_TYPES = new Map(
  [1, 2, 3, 4, 5, 6, 7].map((number, at) => [number, [5, 5, 5, 2, 1, 1, 2][at]]),
);

/** Walks over the fields by the specification alone, up to the first that cannot be skipped. */
function hasWrongWireType(bytes: Uint8Array): boolean {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n, byte = 0x80; byte >= 0x80 && at < bytes.length; shift += 7n, at += 1) {
      byte = bytes[at] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
    }
    return Number(value & 0xffff_ffffn);
  };
  const skip = (wireType: number) => {
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = varint();
      at += length;
    } else if (wireType === 3) {
      for (let tag = varint(); (tag & 7) !== 4 && at < bytes.length; tag = varint()) skip(tag & 7);
    } else at = bytes.length;
  };
  while (at < bytes.length) {
    const tag = varint();
    const known = WIRE_TYPES.get(tag >>> 3);
    if (known !== undefined && known !== (tag & 7)) return true;
    skip(tag & 7);
  }
  return false;
}

/** Plain arrays, so that a Buffer equals a Uint8Array of the same bytes. */
function plain(frame: Frame | undefined) {
  return frame && { ...frame, callId: [...frame.callId], payload: [...frame.payload] };
}

function assertReadAlike(bytes: Uint8Array): void {
  const { frame, error } = decodeFrame(bytes);
  assert.deepEqual(plain(frame), plain(generatedFrame(bytes)));
  if (error) assert.equal(error.id, 'frame.malformed');
}

test('the canonical encoding equals the generated codec byte for byte', () => {
  fc.assert(
    fc.property(frames, (frame) => {
      assert.deepEqual([...encodeFrame(frame)], [...generatedBytes(frame)]);
    }),
  );
});

test('each codec reads what the other writes', () => {
  fc.assert(
    fc.property(frames, (frame) => {
      assert.deepEqual(plain(decodeFrame(generatedBytes(frame)).frame), plain(frame));
      assert.deepEqual(plain(generatedFrame(encodeFrame(frame))), plain(frame));
    }),
  );
});

test('arbitrary bytes are read as the generated codec reads them, and never throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), assertReadAlike), { numRuns: 2000 });
});

test('a damaged or truncated frame is read as the generated codec reads it', () => {
  const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 });
  fc.assert(
    fc.property(frames, edits, fc.option(fc.nat()), (frame, changes, cut) => {
      const bytes = encodeFrame({ ...frame, payload: frame.payload.subarray(0, 200) });
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      assertReadAlike(cut === null ? bytes : bytes.subarray(0, cut % bytes.length));
    }),
    { numRuns: 2000 },
  );
});

test('[RLY-01] reordered, missing, repeated and unknown fields mean the same to both codecs', () => {
  const fields = fc.array(field(), { maxLength: 12 }).map((parts) => Buffer.concat(parts));
  fc.assert(fc.property(fields, assertReadAlike), { numRuns: 2000 });
});

/** One encoded field of the message, or one that it does not know. */
function field(): fc.Arbitrary<Uint8Array> {
  const fixed32 = fc
    .tuple(fc.constantFrom(0x0d, 0x15, 0x1d), fc.uint8Array({ minLength: 4, maxLength: 4 }))
    .map(([tag, value]) => Buffer.from([tag, ...value]));
  const fixed64 = fc
    .tuple(fc.constantFrom(0x29, 0x31), fc.uint8Array({ minLength: 6, maxLength: 6 }))
    .map(([tag, value]) => Buffer.from([tag, ...value, 0, 0]));
  const callId = fc
    .constantFrom(0, 16, 16, 16, 15)
    .chain((size) => fc.uint8Array({ minLength: size, maxLength: size }))
    .map((value) => Buffer.from([0x22, value.length, ...value]));
  const payload = fc
    .tuple(fc.uint8Array({ maxLength: 100 }), fc.boolean())
    .map(([value, long]) =>
      Buffer.from(long ? [0x3a, value.length | 0x80, 0, ...value] : [0x3a, value.length, ...value]),
    );
  const unknown = fc.constantFrom(
    Buffer.from([0x40, 0x01]),
    Buffer.from([0x4a, 0x02, 1, 2]),
    // A group of field 9 that holds the tag of field 1.
    Buffer.from([0x4b, 0x0d, 1, 2, 3, 4, 0x4c]),
  );
  return fc.oneof(fixed32, fixed64, callId, payload, unknown);
}

test('[RLY-01] a known field of a wrong wire type is malformed, wherever it stands', () => {
  const body = [[1, 0], new Uint8Array(8).fill(1), [2, 1, 1], [], [], new Uint8Array(4).fill(1)];
  for (const [number, right] of WIRE_TYPES) {
    for (const wireType of [0, 1, 2, 3, 5].filter((type) => type !== right)) {
      const end = wireType === 3 ? [(number << 3) | 4] : [];
      const wrong = [(number << 3) | wireType, ...(body[wireType] ?? []), ...end];
      for (const bytes of [
        wrong,
        [...wrong, ...encodeFrame(blank)],
        [...encodeFrame(blank), ...wrong],
      ]) {
        const { error } = decodeFrame(Uint8Array.from(bytes));
        assert.equal(error?.id, 'frame.malformed', `field ${number} of wire type ${wireType}`);
      }
    }
  }
});

test('only the shortest form of a length is canonical, and any other is read all the same', () => {
  for (const length of [0, 1, 127, 128, 16_383, 16_384]) {
    const payload = Buffer.alloc(length, 7);
    const bytes = encodeFrame({ ...blank, payload });
    assert.ok(isCanonical(bytes), `${length} bytes`);
    const head = bytes.subarray(0, 52);
    const shortest = bytes.subarray(52, bytes.length - length);
    assert.equal(shortest.length, length < 128 ? 1 : length < 16_384 ? 2 : 3);
    const last = shortest.length - 1;
    for (const zeros of [[0], [0x80, 0], [0x80, 0x80, 0]]) {
      const longer = Buffer.from([...shortest, ...zeros]);
      longer[last] = (longer[last] ?? 0) | 0x80;
      const loose = Buffer.concat([head, longer, payload]);
      assert.equal(isCanonical(loose), false, `${length} in ${longer.length} bytes`);
      assertReadAlike(loose);
      assert.equal(decodeFrame(loose).frame?.payload.length, length);
    }
  }
});

test('[RLY-01] a frame over the limit is refused before it is decoded', () => {
  const bytes = encodeFrame({ ...blank, payload: new Uint8Array(1000) });
  assert.equal(decodeFrame(bytes, 500).error?.id, 'frame.too_large');
  assert.equal(decodeFrame(bytes, bytes.length).error, undefined);
});

test('[RLY-01] both codecs refuse an offset or epoch that is not a safe integer', () => {
  for (const field of ['offset', 'epoch']) {
    const message = create(FrameSchema, { offset: 0n, epoch: 0n, [field]: 1n << 53n });
    assert.equal(decodeFrame(toBinary(FrameSchema, message)).error?.id, 'frame.malformed');
    const full = create(FrameSchema, { ...exact, [field]: 1n << 53n });
    assert.equal(decodeFrame(toBinary(FrameSchema, full)).error?.id, 'frame.malformed');
  }
});

test('the payload is a view, not a copy', () => {
  const bytes = encodeFrame({ ...blank, payload: Uint8Array.of(1, 2, 3) });
  const { frame } = decodeFrame(bytes);
  bytes[bytes.length - 1] = 9;
  assert.deepEqual([...(frame?.payload ?? [])], [1, 2, 9]);
});

test('a call key has 32 digits and converts back to its call id', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (callId) => {
      assert.match(callKey(callId), /^[0-9a-f]{32}$/);
      assert.deepEqual([...callIdFromKey(callKey(callId))], [...callId]);
    }),
  );
});

const blank: Frame = {
  kind: 0,
  flags: 0,
  device: 0,
  callId: NO_CALL,
  offset: 0,
  epoch: 0,
  payload: new Uint8Array(0),
};
const exact = { ...blank, offset: 0n, epoch: 0n };
