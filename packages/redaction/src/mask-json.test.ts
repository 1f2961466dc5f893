import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maskJson } from './index.ts';

test('[RED-01] secrets are masked in strings, in names and under secret names', () => {
  const value = {
    path: '/etc/app.conf',
    content: 'user: x\npassword=hunter2\n',
    password: 'plain words',
    nested: [{ apiKey: 12345, 'Set-Cookie': 'a' }, 'sk-ant-0123456789abcdef0123'],
    ghp_abcdefghijabcdefghijabcdefghijabcdef: 1,
  };
  assert.deepEqual(maskJson(value), {
    path: '/etc/app.conf',
    content: 'user: x\npassword=[masked:secret]\n',
    password: '[masked:secret]',
    nested: [
      { apiKey: '[masked:secret]', 'Set-Cookie': '[masked:secret]' },
      '[masked:anthropic-key]',
    ],
    '[masked:github-token]': 1,
  });
});

test('JSON without secrets comes back equal, whatever its names', () => {
  const words = fc.constantFrom('a', 'path', 'size', '__proto__', 'constructor', 'inputTokens');
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom('text', 'more text', ''),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(words, tie('value'), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).value;
  fc.assert(
    fc.property(json, (value) => {
      assert.equal(JSON.stringify(maskJson(value)), JSON.stringify(value));
    }),
  );
});

test('copies only what holds a secret', () => {
  const clean = { text: 'nothing', list: [1, { path: '/a' }] };
  assert.equal(maskJson(clean), clean);
  const beside = maskJson({ clean, secret: ['sk-ant-0123456789abcdef0123'] });
  assert.deepEqual(beside, { clean, secret: ['[masked:anthropic-key]'] });
});

test('a receipt stays readable: the base64 payload of an envelope is not a token', () => {
  const payload = Buffer.from('{"role":"host","callId":"00"}').toString('base64');
  const envelope = {
    payloadType: 'application/json',
    payload,
    signatures: [{ keyid: 'ab', sig: 'cd' }],
  };
  assert.deepEqual(maskJson(envelope), envelope);
  assert.equal(maskJson(JSON.stringify(envelope)), JSON.stringify(envelope));
});

test('a value nested without end is cut off', () => {
  const loop: Record<string, unknown> = {};
  loop.again = loop;
  assert.match(JSON.stringify(maskJson(loop)), /\[too deep\]/);
});
