import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResultText } from './remote-call.ts';

const piece = fc.oneof(
  fc.string({ maxLength: 9000 }).map((text) => Buffer.from(text)),
  fc.string({ unit: 'binary', maxLength: 60 }).map((text) => Buffer.from(text)),
  fc.constantFrom(Buffer.alloc(70_000, 'x'), Buffer.alloc(70_000, '\u00e9'), Buffer.alloc(0)),
  fc.constantFrom(Buffer.from('\ufeff'), Buffer.from([0xe2, 0x82]), Buffer.from([0xac])),
);

test('is the text of the pushed bytes, however they were cut and even when the pieces change later', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const whole = Buffer.concat(pieces);
      const result = new ResultText();
      for (const bytes of pieces) {
        const pushed = Uint8Array.from(bytes);
        result.push(pushed);
        pushed.fill(0xff);
      }
      assert.equal(result.length, whole.length);
      assert.equal(result.end(), textOf(whole));
    }),
  );
});

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
