import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeUnseen, ForeignText, foreignLine, foreignText } from './index.ts';

test('removes escape sequences with their parameters and keeps plain text', () => {
  assert.equal(foreignText('\u001b[2J\u001b[31mred\u001b[0m'), 'red');
  assert.equal(foreignText('\u001b]0;title\u0007shown'), 'shown');
  assert.equal(foreignText('\u009b31mred\u0085'), 'red');
  assert.equal(foreignText('one\r\ntwo\tthree\u0008\u007f'), 'one\ntwo\tthree');
  assert.equal(foreignText('Grüße, 世界 👋🏽'), 'Grüße, 世界 👋🏽');
});

const HIDING: Readonly<Record<string, [given: string, shown: string]>> = {
  'an override that reverses a file name': ['invoice\u202efdp.exe', 'invoicefdp.exe'],
  'isolates around program text': ['if \u2066admin\u2069 \u2067// \u2069', 'if admin // '],
  'the marks of one direction': ['a\u200eb\u200fc\u061cd', 'abcd'],
  'tags that spell an order': ['ok\u{e0072}\u{e0075}\u{e006e}', 'ok'],
  'tags behind a flag that is none': ['\u{1f3f4}\u{e0072}\u{e007f}', '\u{1f3f4}'],
  'a selector behind each letter': ['a\ufe01b\u{e0101}c\ufe0f', 'abc'],
  'a second selector behind a sign': ['❤\ufe0f\ufe0f葛\u{e0100}\u{e0101}', '❤\ufe0f葛\u{e0100}'],
  'joiners between Latin letters': ['pass\u200dword\u200c', 'password'],
  'a joiner at the edge of Arabic': ['می\u200c a\u200cم', 'می aم'],
  'spaces without width': ['a\u200bb\u2060c\ufeffd\u00ade', 'abcde'],
  'letters without a shape': ['a\u3164b\uffa0c\u115fd', 'abcd'],
  annotations: ['a\ufff9b\ufffbc', 'abc'],
};

for (const [what, [given, shown]] of Object.entries(HIDING)) {
  test(`removes ${what}`, () => {
    assert.equal(foreignText(given), shown);
  });
}

test('keeps the joiners and selectors that writing and emoji need', () => {
  const needed = [
    'می‌خواهم',
    'क्‍ष',
    'ශ්‍රී ලංකා',
    'ക്‍',
    'ᠨᠢᠭᠡ᠎ᠠ',
    '葛\u{e0100}城',
    '👨‍👩‍👧‍👦 ❤️‍🔥 👩🏽‍💻 1️⃣ ☺︎',
    '🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}',
    'שלום, مرحبا',
  ];
  for (const text of needed) assert.equal(foreignText(text), text);
});

test('a name or message can neither start a line nor change the text direction', () => {
  assert.equal(foreignLine('read\n  ✓ Receipt verified'), 'read   ✓ Receipt verified');
  assert.equal(foreignLine('a\u202etxt.exe\u2028b'), 'atxt.exe b');
  assert.equal(foreignLine('x'.repeat(600)), `${'x'.repeat(500)}…`);
});

const hostile = fc.string({
  unit: fc.constantFrom(
    ...['\u001b', '[', ']', '3', '1', 'm', ';', '\u0007', '\u009b', '\n', 'a', 'ä', 'م', 'क', '्'],
    ...['\u200c', '\u200d', '\u202e', '\ufe0f', '❤', '🔥', '\u{e0067}', '\u2028', '葛', '\u20e3'],
  ),
});

test('keeps no control characters but newlines and tabs, however the text is split', () => {
  fc.assert(
    fc.property(fc.array(hostile), (parts) => {
      const shown = parts.map(foreignText).join('');
      assert.doesNotMatch(shown, /[^\P{Cc}\n\t]|[\u202e\u2028]/u);
      assert.doesNotMatch(parts.map((part) => foreignLine(part)).join(''), /\p{Cc}/u);
    }),
  );
});

test('what is shown of a text in pieces is shown of the whole, if it has no controls', () => {
  const characters = hostile.map((text) => text.replace(/[^\P{Cc}\n]/gu, ''));
  fc.assert(
    fc.property(fc.array(characters), (parts) => {
      const pieces = new ForeignText();
      const shown = parts.map((part) => pieces.push(part)).join('') + pieces.end();
      assert.equal(shown.replaceAll('\n', ''), foreignText(parts.join('')).replaceAll('\n', ''));
    }),
    { numRuns: 500 },
  );
});

test('JSON keeps its value and shows escapes for what is not seen', () => {
  const value = { text: 'a\u202e\u{e0067}\u009b\u200d\u2028', name: 'می‌خواهم' };
  const json = escapeUnseen(JSON.stringify(value));
  assert.match(json, /a\\u202e\\udb40\\udc67\\u009b\\u200d\\u2028/);
  assert.deepEqual(JSON.parse(json), value);
});

test('hostile text takes linear time', () => {
  for (const part of [';#', ';?', '\u001b[;', '\u009b', '\u001b]', '\u001b[0 ', '\u001b]\u009b0']) {
    assert.ok(!foreignText(`\u001b${part.repeat(500_000)}`).includes('\u001b'));
  }
  for (const part of ['\u200d', 'م\u200d', '\u{1f3f4}\u{e0067}\u{e0062}', '\ufe0f', '1\ufe0f']) {
    assert.ok(foreignText(part.repeat(300_000)).length <= part.length * 300_000);
  }
});
