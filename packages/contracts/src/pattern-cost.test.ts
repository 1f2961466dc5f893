import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_PATTERN_CHARS, patternCost } from './pattern-cost.ts';

test('patterns that people write are accepted, and most may be tried on any text', () => {
  const unlimited = [
    '^[a-z0-9]+(-[a-z0-9]+)*$',
    '^sha256:[0-9a-f]{64}$',
    '^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?Z)?$',
    '^[A-Za-z_][\\w.-]*$',
    '^(GET|POST|PUT|PATCH|DELETE)$',
    '^https?://[^/\\s]+(/[^\\s]*)?$',
    '^(\\d{1,3}\\.){3}\\d{1,3}$',
    '^v?(0|[1-9]\\d*)\\.(0|[1-9]\\d*)$',
    '^\\p{L}+$',
    '^(?<name>[a-z]+)=(?:[^;]*);?$',
    '^[\\]\\-a\\u0041\\u{1F600}\\x41\\cA\\b]+\\b$',
    '^$',
    '',
  ];
  for (const pattern of unlimited) {
    assert.ok((patternCost(pattern).maxTextChars ?? 0) >= 1 << 20, pattern);
  }
  for (const pattern of ['[a-z]+', '^[^@]+@[^@]+\\.[^@]+$', '^.*\\.txt$', '\\s+$']) {
    assert.ok((patternCost(pattern).maxTextChars ?? 0) >= 2048, pattern);
  }
});

test('[TOOL-02] patterns that can take exponential time are refused', () => {
  const refused = [
    '^(a+)+$',
    '^(a*)*$',
    '(a|aa)+$',
    '(a|a)*$',
    '^(\\w+\\s?)*$',
    '^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$',
    '^(([a-z])+.)+[A-Z]([a-z])+$',
    '(.*a){20}',
    '^(a?b?)*$',
    '^(a{1,9}){1,9}$',
    `^${'a?'.repeat(30)}${'a'.repeat(30)}$`,
    `^${'(a|a)'.repeat(30)}$`,
    '^(a?){30}a{30}$',
    '^(|){30}x$',
    '^((a?)|(b?)){30}$',
    '^(a*){10}$',
    '\\s*\\s*\\s*x',
    '^([^\\p{L}]|[^\\p{N}])+$',
    '^([^\\P{L}a]|[^\\P{Lu}b])+$',
    '^(\\uD83D\\uDE00|\\u{1F600})+$',
  ];
  for (const pattern of refused) assert.ok(patternCost(pattern).error, pattern);
});

test('what cannot be judged is refused, and so is what is no pattern', () => {
  const refused: [string, RegExp][] = [
    ['^(a)\\1$', /refers back/],
    ['^(?<x>a)\\k<x>$', /refers back/],
    ['^(?=a)', /looks ahead/],
    ['^(?<!a)b', /looks ahead/],
    ['(', /not a regular expression/],
    ['a'.repeat(MAX_PATTERN_CHARS + 1), /longer than/],
    ['a{600}', /too large/],
    ['(a{30}){30}', /too large/],
  ];
  for (const [pattern, message] of refused) assert.match(patternCost(pattern).error ?? '', message);
});

test('an accepted pattern takes few steps on texts made to hurt it', () => {
  const piece = fc.constantFrom('a', 'b', '[ab]', '.', 'a+', 'b*', 'a?', '[ab]+', '(a|b)', '(ab?)');
  const quantifier = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}');
  const group = fc
    .tuple(fc.array(piece, { minLength: 1, maxLength: 4 }), quantifier)
    .map(([pieces, times]) => `(${pieces.join('')})${times}`);
  const pattern = fc
    .array(fc.oneof(piece, group), { minLength: 1, maxLength: 5 })
    .map((parts) => `^${parts.join('')}$`);
  fc.assert(
    fc.property(pattern, fc.constantFrom('a', 'ab', 'b', 'aab'), (source, unit) => {
      const { maxTextChars } = patternCost(source);
      if (maxTextChars === undefined) return;
      const text = `${unit.repeat(12)}!`;
      const steps = backtrackingSteps(source, text);
      // The promise is 2^24 tries at the longest text; a try looks at some characters in vain.
      const most = (64 * 2 ** 24 * text.length) / maxTextChars;
      assert.ok(steps < Math.min(most, 500_000), `${source} took ${steps} steps`);
    }),
    { numRuns: 1000 },
  );
});

/** Steps of a plain backtracking matcher, which is what the engine is in the worst case. */
function backtrackingSteps(source: string, text: string): number {
  let steps = 0;
  type Then = (at: number) => boolean;
  type Matcher = (at: number, then: Then) => boolean;
  let i = 1;
  const sequence = (): Matcher => {
    const parts: Matcher[] = [];
    while (i < source.length && !'|)$'.includes(source[i]!)) parts.push(quantified(atom()));
    return parts.reduceRight<Matcher>(
      (rest, part) => (at, then) => part(at, (next) => rest(next, then)),
      (at, then) => then(at),
    );
  };
  const atom = (): Matcher => {
    const char = source[i++]!;
    if (char === '(') {
      const options = [sequence()];
      while (source[i] === '|' && ++i) options.push(sequence());
      i++;
      return (at, then) => options.some((option) => option(at, then));
    }
    let set = char;
    if (char === '[') for (set = ''; source[i++] !== ']'; ) set += source[i - 1];
    return (at, then) => {
      steps++;
      const matches = at < text.length && (set === '.' || set.includes(text[at]!));
      return steps < 1_000_000 && matches && then(at + 1);
    };
  };
  const quantified = (body: Matcher): Matcher => {
    const found = /^(\*|\+|\?|\{(\d)(?:,(\d))?\})/.exec(source.slice(i));
    if (!found) return body;
    i += found[0].length;
    const named: Record<string, [number, number]> = { '*': [0, 99], '+': [1, 99], '?': [0, 1] };
    const [min, max] = named[found[0]] ?? [Number(found[2]), Number(found[3] ?? found[2])];
    const times = (count: number, at: number, then: Then): boolean => {
      const again = () =>
        body(at, (next) => (next !== at || count < min) && times(count + 1, next, then));
      return (count < max && again()) || (count >= min && then(at));
    };
    return (at, then) => times(0, at, then);
  };
  sequence()(0, (at) => at === text.length);
  return steps;
}
