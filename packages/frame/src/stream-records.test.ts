import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeRecord, RecordReader } from './stream-records.ts';

const SENT = [
  encodeRecord({ case: 'opened', value: { id: 'abc', maxPostBytes: 1000 } }),
  encodeRecord({ case: 'frame', value: Buffer.alloc(300, 7) }),
  encodeRecord({ case: 'ping', value: {} }),
  encodeRecord({ case: 'frame', value: new Uint8Array() }),
  encodeRecord({ case: 'close', value: { code: 4429, reason: 'limit.exceeded' } }),
];
const CASES = ['opened', 'frame', 'ping', 'frame', 'close'];

test('[BRG-08] records are read whole, however the network cuts them', () => {
  const bytes = Buffer.concat(SENT);
  for (const size of [1, 2, 3, 7, 100, bytes.length]) {
    const reader = new RecordReader(400);
    const found = [];
    for (let at = 0; at < bytes.length; at += size) {
      found.push(...reader.read(bytes.subarray(at, at + size)).value!);
    }
    assert.deepEqual(
      found.map(({ case: kind }) => kind),
      CASES,
    );
    assert.deepEqual(found[1]?.value, Buffer.alloc(300, 7));
    assert.equal(reader.heldBytes, 0);
  }
});

test('[BRG-08] a record over the limit is refused before it has arrived', () => {
  const frame = encodeRecord({ case: 'frame', value: Buffer.alloc(1000) });
  assert.match(new RecordReader(500).read(frame.subarray(0, 3)).error!, /1003 bytes/);
});

test('[BRG-08] what is not a record is an error, and an unknown record is not', () => {
  for (const garbage of [Buffer.alloc(11, 0xff), Buffer.from([2, 0x0a, 0x05])]) {
    assert.ok(new RecordReader(500).read(garbage).error);
  }
  const unknown = new RecordReader(500).read(Buffer.from([3, 0x9a, 0x06, 0x00]));
  assert.deepEqual(
    unknown.value?.map(({ case: kind }) => kind),
    [undefined],
  );
});
