import { charSet, isIn } from '../char-set.ts';
import { LOOKBEHIND_CHARS, type Matcher, undecided, type Verdict } from '../matcher.ts';
import { isSecretName } from '../secret-name.ts';
import { swallowQuoted } from '../swallow-quoted.ts';
import { swallowRun } from '../swallow-run.ts';

const MIN_VALUE_CHARS = 4;
const MIN_LOOSE_CHARS = 6;
/** A value as long as this is no word, whatever it is made of. */
const CERTAIN_CHARS = 32;
const MAX_GAP_CHARS = 8;

const gap = charSet(/[ \t]/);
const quotes = charSet(/["'`]/);
const nameTail = charSet(/[A-Za-z"'`\\ ]/);
const valueEnds = charSet(/[\s"'`,;&|]/);
const valueBody = charSet(/[^\s"'`,;&|)\]}>.!?:]/);
const valueJoiners = charSet(/[)\]}>.!?:]/);
const unlikeWords = charSet(/[0-9!@#%^*+=~]/);
/** References and placeholders, ours among them, tell no value. */
const bareReference = /^(?:\$[{(A-Z_]|[<{[(])/;
const quotedReference = /^(?:\$[{(]|\{\{|\[m)/;
const swallowBare = swallowRun(valueBody, valueJoiners);

const words = /^(?:none|null|nil|true|false|undefined|string|str|bytes|required|optional)$/i;

/** The value of password=..., "api_key": "..." and the like. The name stays. */
export const secretValue: Matcher = {
  name: 'secret',
  starts: ':=',
  match(text, at, final) {
    if (!isIn(nameTail, text, at - 1)) return 'no';
    if (!isSecretName(nameBefore(text, at))) return 'no';
    let start = at + 1;
    // Also := and => and ==.
    if (/[=>]/.test(text.charAt(start))) start++;
    while (start - at < MAX_GAP_CHARS && isIn(gap, text, start)) start++;
    const spaced = start > at + 1 || text.charAt(at) === ':';
    let slashes = 0;
    while (slashes < 3 && text.charAt(start + slashes) === '\\') slashes++;
    if (start + slashes >= text.length) return undecided(final);
    if (isIn(quotes, text, start + slashes)) {
      return quotedValue(text, { at, start: start + slashes, slashes }, final);
    }
    return bareValue(text, { at, start, spaced }, final);
  },
};

function nameBefore(text: string, at: number): string {
  const before = text.slice(Math.max(0, at - LOOKBEHIND_CHARS), at);
  return before.replace(/\\{0,3}["'`]?[ \t]{0,2}$/, '');
}

function quotedValue(
  text: string,
  { at, start, slashes }: { at: number; start: number; slashes: number },
  final: boolean,
): Verdict {
  const value = start + 1;
  if (quotedReference.test(text.slice(value, value + 2))) return 'no';
  const swallow = swallowQuoted(text.charAt(start), slashes);
  const { end, over } = swallow(text, value, final);
  if (end - value >= MIN_VALUE_CHARS) return { keep: value - at, end: value, swallow };
  return over ? 'no' : undecided(final);
}

function bareValue(
  text: string,
  { at, start, spaced }: { at: number; start: number; spaced: boolean },
  final: boolean,
): Verdict {
  if (bareReference.test(text.slice(start, start + 2))) return 'no';
  const minChars = spaced ? MIN_LOOSE_CHARS : MIN_VALUE_CHARS;
  let strong = false;
  for (let index = start; ; index++) {
    const length = index - start;
    if (length >= CERTAIN_CHARS || (strong && length >= minChars)) {
      return { keep: start - at, end: start, swallow: swallowBare };
    }
    const over = index >= text.length;
    if (over && !final) return 'more';
    if (over || isIn(valueEnds, text, index)) {
      // Prose and program text: "the password: remember it", token = getToken().
      if (spaced || length < minChars) return 'no';
      const value = text.slice(start, index).replace(/[)\]}>.!?:]+$/, '');
      if (words.test(value) || isSecretName(value)) return 'no';
      return { keep: start - at, end: start, swallow: swallowBare };
    }
    strong ||= isIn(unlikeWords, text, index);
  }
}
