import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { requestDigest } from './index.ts';

test('the digest of a request is the digest of its canonical JSON', () => {
  const text = fc.string({ unit: 'grapheme' });
  fc.assert(
    fc.property(text, text, fc.array(text), (server, method, params) => {
      // Members in canonical order, which is what RFC 8785 asks beyond JSON.stringify here.
      const json = JSON.stringify({ argumentSalt: '0a'.repeat(16), method, params, server });
      const expected = createHash('sha256').update(json).digest('hex');
      const argumentSalt = Buffer.alloc(16, 10);
      const bytes = Buffer.from(JSON.stringify(params));
      const digest = requestDigest({ server, method, params: bytes, argumentSalt });
      assert.equal(Buffer.from(digest).toString('hex'), expected);
    }),
  );
});
