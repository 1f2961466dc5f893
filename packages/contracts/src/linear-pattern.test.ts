import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePattern, MAX_PATTERN_CHARS } from './linear-pattern.ts';

test('patterns that people write are accepted and match long texts', () => {
  const accepted: [pattern: string, text: string][] = [
    ['^[a-z0-9]+(-[a-z0-9]+)*$', 'a-b'.repeat(20_000)],
    ['^[^@]+@[^@]+\\.[^@]+$', `${'a'.repeat(50_000)}@b.c`],
    ['^.*\\.txt$', `${'a'.repeat(50_000)}.txt`],
    ['\\s+$', ' '.repeat(50_000)],
    ['^sha256:[0-9a-f]{64}$', `sha256:${'0'.repeat(64)}`],
    ['^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?Z)?$', '2026-11-21T17:00:00.5Z'],
    ['^(GET|POST|PUT|PATCH|DELETE)$', 'PATCH'],
    ['^https?://[^/\\s]+(/[^\\s]*)?$', 'https://a.example/b'],
    ['^(\\d{1,3}\\.){3}\\d{1,3}$', '127.0.0.1'],
    ['^\\p{L}+$', 'äβ'],
    ['^\\p{Script=Greek}+$', 'αβ'],
    ['^(?<name>[a-z]+)=(?:[^;]*);?$', 'a=b;'],
    ['^[\\]\\-a\\u0041\\u{1F600}\\x41\\cA\\b]+$', ']-aA\u{1F600}\u0001\b'],
    ['', ''],
  ];
  for (const [pattern, text] of accepted) {
    assert.equal(compilePattern(pattern).value?.test(text), true, pattern);
  }
});

test('[TOOL-02] patterns that take a backtracking engine exponential time answer in linear time', () => {
  const hostile = [
    '^(a+)+$',
    '^(a*)*$',
    '^(a|aa)+$',
    '^(a|a)*$',
    '^(\\w+\\s?)*$',
    '^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$',
    '^(([a-z])+.)+[A-Z]([a-z])+$',
    '(.*a){20}!!',
    '^(a?b?)*$',
    '^(a{1,9}){1,9}$',
    `^${'a?'.repeat(30)}${'a'.repeat(30)}$`,
    `^${'(a|a)'.repeat(30)}$`,
    '^(a?){30}a{30}$',
    '^(|){30}x$',
    '^((a?)|(b?)){30}$',
    '^(a*){10}$',
    '\\s*\\s*\\s*x',
    '^([^\\p{L}]|[^\\p{N}])+$x',
    '^([^\\P{L}a]|[^\\P{Lu}b])+$',
    '^(\\uD83D\\uDE00|\\u{1F600})+$',
  ];
  const text = `${'a'.repeat(30_000)}!`;
  for (const pattern of hostile) {
    assert.equal(compilePattern(pattern).value?.test(text), false, pattern);
  }
});

test('a pattern that is not regular, not valid or too large is refused', () => {
  const refused: [string, RegExp][] = [
    ['^(a)\\1$', /refers back/],
    ['^(?<x>a)\\k<x>$', /refers back/],
    ['^(?=a)', /looks ahead/],
    ['^(?<!a)b', /looks ahead/],
    ['(', /not a regular expression/],
    ['(?P<x>a)', /not a regular expression/],
    ['^\\Z', /not a regular expression/],
    ['a'.repeat(MAX_PATTERN_CHARS + 1), /longer than/],
    ['\\p{Letter}', /linear time/],
    ['a{1001}', /linear time/],
    ['(a{100}){100}', /repeats too much/],
    ['a{1000}b{1000}c{1000}', /repeats too much/],
    [`(?:${'\\p{L}?'.repeat(200)}){1000}`, /repeats too much/],
    [`(?:${'a?'.repeat(690)}){1000}`, /repeats too much/],
  ];
  for (const [pattern, message] of refused) {
    assert.match(compilePattern(pattern).error ?? '', message);
  }
});

const atom = fc.constantFrom(
  ...['a', 'b', '_', '-', ' ', '/', 'é', '\u{1F600}', '\u2028', '.', '^', '$', '\\b', '\\B'],
  ...['\\d', '\\D', '\\w', '\\W', '\\s', '\\S', '\\n', '\\0', '\\.', '\\/', '\\cJ', '\\x41'],
  ...['\\u0061', '\\u{1F600}', '\\uD83D\\uDE00', '\\ud800', '\\p{L}', '\\P{L}', '(|a)', '(?<n>a)'],
  ...['[a-c]', '[^a]', '[\\s\\d]', '[^\\s]', '[\\S]', '[^\\S]', '[\\W-]', '[a-c-]', '[[:alpha:]'],
  ...['[]', '[^]', '[(?=]', '[a[]', '[\\uD83D\\uDE00-\\u{1F610}]', '[\\]\\-\\\\^]', '[\\b]'],
);
const quantifier = fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,3}', '{2,}', '*?');
const sequence = fc
  .array(fc.tuple(atom, quantifier), { maxLength: 5 })
  .map((parts) => parts.map(([part, times]) => part + times).join(''));
const pattern = fc
  .tuple(sequence, fc.option(sequence), quantifier, fc.boolean(), fc.boolean())
  .map(([first, second, times, starts, ends]) => {
    const body = second === null ? first : `(?:${first}|${second})${times}`;
    return `${starts ? '^' : ''}${body}${ends ? '$' : ''}`;
  });
const LETTERS = [...'abcAZ1_- \t\v\n\r\0\b\x7f\x1f\\][:^./!(=\u00a0\u2028\ufeffé\u03b1\u{1F600}'];
const text = fc
  .array(fc.constantFrom(...LETTERS, '\u{1F610}', '\ud800', '\udc00'), { maxLength: 6 })
  .map((chars) => chars.join(''));

test('a pattern means the same as in JavaScript with the u flag', () => {
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 6 }), (source, texts) => {
      let expected: RegExp;
      try {
        expected = new RegExp(source, 'u');
      } catch {
        return fc.pre(false);
      }
      const { value } = compilePattern(source);
      for (const sample of texts) assert.equal(value?.test(sample), expected.test(sample));
    }),
    { numRuns: 2000 },
  );
});
