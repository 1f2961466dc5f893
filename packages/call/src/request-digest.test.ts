import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { requestDigest } from './index.ts';

test('the digest of a request is that of its canonical JSON', () => {
  const text = fc.string({ unit: 'grapheme' });
  fc.assert(
    fc.property(text, text, fc.array(text), (server, method, params) => {
      // Members in canonical order, which is what RFC 8785 asks beyond JSON.stringify here.
      const json = JSON.stringify({ method, params, server });
      const expected = createHash('sha256').update(json).digest('hex');
      const digest = requestDigest({ server, method, params: Buffer.from(JSON.stringify(params)) });
      assert.equal(Buffer.from(digest).toString('hex'), expected);
    }),
  );
});
