import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResultBuffer } from './remote-call.ts';

test('what is pushed in pieces is seen whole, also when the pieces are changed later', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9000 }), { maxLength: 12 }), (pieces) => {
      const whole = Buffer.concat(pieces);
      const buffer = new ResultBuffer();
      for (const piece of pieces) {
        buffer.push(piece);
        piece.fill(0xff);
      }
      assert.equal(buffer.length, whole.length);
      assert.equal(Buffer.compare(buffer.view(), whole), 0);
    }),
  );
});
