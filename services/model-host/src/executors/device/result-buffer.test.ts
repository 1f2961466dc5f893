import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResultBuffer } from './remote-call.ts';

test('keeps the pushed bytes even when the pieces change later', () => {
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
