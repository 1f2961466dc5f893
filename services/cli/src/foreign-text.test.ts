import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { foreignLine, foreignText } from './foreign-text.ts';

test('removes escape sequences with their parameters and keeps plain text', () => {
  assert.equal(foreignText('\u001b[2J\u001b[31mred\u001b[0m'), 'red');
  assert.equal(foreignText('\u001b]0;title\u0007shown'), 'shown');
  assert.equal(foreignText('\u009b31mred\u0085'), 'red');
  assert.equal(foreignText('one\r\ntwo\tthree\u0008\u007f'), 'one\ntwo\tthree');
  assert.equal(foreignText('Grüße, 世界 👋🏽'), 'Grüße, 世界 👋🏽');
});

test('a name or message can neither start a line nor change the text direction', () => {
  assert.equal(foreignLine('read\n  ✓ Receipt verified'), 'read   ✓ Receipt verified');
  assert.equal(foreignLine('a\u202etxt.exe\u2028b'), 'atxt.exeb');
  assert.equal(foreignLine('x'.repeat(600)), `${'x'.repeat(500)}…`);
});

test('keeps no control characters but newlines and tabs, however the text is split', () => {
  const hostile = fc.string({
    unit: fc.constantFrom(
      '\u001b',
      '[',
      ']',
      '3',
      '1',
      'm',
      ';',
      '\u0007',
      '\u009b',
      '\n',
      'a',
      'ä',
    ),
  });
  fc.assert(
    fc.property(fc.array(hostile), (parts) => {
      const shown = parts.map(foreignText).join('');
      assert.doesNotMatch(shown, /[^\P{Cc}\n\t]/u);
      assert.doesNotMatch(parts.map((part) => foreignLine(part)).join(''), /\p{Cc}/u);
    }),
  );
});

test('hostile text takes linear time', () => {
  for (const part of [';#', ';?', '\u001b[;', '\u009b', '\u001b]', '\u001b[0 ', '\u001b]\u009b0']) {
    assert.ok(!foreignText(`\u001b${part.repeat(500_000)}`).includes('\u001b'));
  }
});
