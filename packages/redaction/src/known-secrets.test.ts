import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maskKnown } from './known-secrets.ts';

const secret = fc.stringMatching(/^[\x21-\x7e]{8,60}$/);

test('[RED-01] a known secret is masked in every encoding, wherever it stands', () => {
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (key, before, after) => {
      const encodings: readonly ((text: string) => string)[] = [
        (text) => text,
        (text) => JSON.stringify(text),
        (text) => encodeURIComponent(text.toWellFormed()),
        (text) => Buffer.from(text).toString('base64'),
        (text) => Buffer.from(text).toString('base64url'),
        (text) => Buffer.from(text).toString('hex'),
      ];
      for (const encode of encodings) {
        const text = encode(`${before}${key}${after}`);
        assert.ok(maskKnown(text, [key]).includes('[masked:key]'), text);
      }
    }),
  );
});

test('a text without the secret stays as it is', () => {
  assert.equal(maskKnown('the key is wrong', ['sk-0123456789', '']), 'the key is wrong');
  assert.equal(maskKnown('pin 1234', ['1234']), 'pin [masked:key]');
});
