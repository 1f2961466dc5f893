import {
  type CharSet,
  charSet,
  isIn,
  LOOKBEHIND_CHARS,
  type Matcher,
  undecided,
  type Verdict,
} from '../matcher.ts';
import { swallowQuoted, swallowRun } from '../swallow.ts';
import { fold } from '../view.ts';

const MIN_VALUE_CHARS = 4;
const MIN_LOOSE_CHARS = 6;
/** A value as long as this is not a word, whatever its characters. */
const CERTAIN_CHARS = 32;
const MAX_GAP_CHARS = 8;

const GAP = charSet(/[ \t]/);
const QUOTES = charSet(/["'`]/);
const NAME_TAIL = charSet(/[A-Za-z"'`\\ ]/);
const VALUE_ENDS = charSet(/[\s"'`,;&|]/);
const VALUE_BODY = charSet(/[^\s"'`,;&|)\]}>.!?:]/);
const VALUE_JOINERS = charSet(/[)\]}>.!?:]/);
const UNLIKE_WORDS = charSet(/[0-9!@#%^*+=~]/);
/** References and placeholders, including ours, reveal no value. */
const BARE_REFERENCE = /^(?:\$[{(A-Z_]|[<{[(])/;
const QUOTED_REFERENCE = /^(?:\$[{(]|\{\{|\[m)/;
const BARE_SWALLOW = swallowRun(VALUE_BODY, VALUE_JOINERS);

const SIGN = /[:=]/g;
const SLASHES = charSet(/\\/);
/** The last two letters of the names in SECRET_NAME. */
const NAME_ENDS = new Set(['rd', 'wd', 'se', 'et', 'en', 'al', 'ls', 'ie', 'ey']);

/** Rejects most names by their last letters, because texts are full of colons and equals signs. */
function mayEndName(text: string, at: number): boolean {
  if (!isIn(NAME_TAIL, text, at - 1)) return false;
  let end = skipBack(text, at, { set: GAP, most: 2 });
  end = skipBack(text, end, { set: QUOTES, most: 1 });
  end = skipBack(text, end, { set: SLASHES, most: 3 });
  // What escapes make up is folded only with the whole name.
  const isPlain = text.charCodeAt(end - 1) < 128 && text.charCodeAt(end - 2) < 128;
  return !isPlain || NAME_ENDS.has(text.slice(end - 2, end).toLowerCase());
}

function skipBack(
  text: string,
  from: number,
  { set, most }: { readonly set: CharSet; readonly most: number },
): number {
  let end = from;
  while (from - end < most && isIn(set, text, end - 1)) end--;
  return end;
}

const WORDS = /^(?:none|null|nil|true|false|undefined|string|str|bytes|required|optional)$/i;

/** The value of password=..., "api_key": "..." and the like. The name stays. */
export const SECRET_VALUE: Matcher = {
  name: 'secret',
  starts: ':=',
  begins(text, from) {
    SIGN.lastIndex = from;
    while (SIGN.test(text)) if (mayEndName(text, SIGN.lastIndex - 1)) return SIGN.lastIndex - 1;
    return text.length;
  },
  match(text, at, final) {
    if (!mayEndName(text, at) || !isSecretName(nameBefore(text, at))) return 'no';
    let start = at + 1;
    // Also := and => and ==.
    if (/[=>]/.test(text.charAt(start))) start++;
    while (start - at < MAX_GAP_CHARS && isIn(GAP, text, start)) start++;
    const spaced = start > at + 1 || text.charAt(at) === ':';
    let slashes = 0;
    while (slashes < 3 && text.charAt(start + slashes) === '\\') slashes++;
    if (start + slashes >= text.length) return undecided(final);
    if (isIn(QUOTES, text, start + slashes)) {
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
  if (QUOTED_REFERENCE.test(text.slice(value, value + 2))) return 'no';
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
  if (BARE_REFERENCE.test(text.slice(start, start + 2))) return 'no';
  const minChars = spaced ? MIN_LOOSE_CHARS : MIN_VALUE_CHARS;
  let strong = false;
  for (let index = start; ; index++) {
    const length = index - start;
    if (length >= CERTAIN_CHARS || (strong && length >= minChars)) {
      return { keep: start - at, end: start, swallow: BARE_SWALLOW };
    }
    const over = index >= text.length;
    if (over && !final) return 'more';
    if (over || isIn(VALUE_ENDS, text, index)) {
      // Prose and program text: "the password: remember it", token = getToken().
      if (spaced || length < minChars) return 'no';
      const value = text.slice(start, index).replace(/[)\]}>.!?:]+$/, '');
      if (WORDS.test(value) || isSecretName(value)) return 'no';
      return { keep: start - at, end: start, swallow: BARE_SWALLOW };
    }
    strong ||= isIn(UNLIKE_WORDS, text, index);
  }
}

/** The value under a name that ends like this is a secret. Anchored, so it is tried at few places. */
const SECRET_NAME =
  /(?:password|passwd|passphrase|pwd|secret|token|credentials?|cookie|(?:api|access|private|account|shared|secret|signing|encryption)[_-]?key)$/i;

/** Cursors of listings and counts, which programs need. */
const HARMLESS_NAME = /(?:page|next|continuation|sync|max|first|per|input|output)[_-]?token$/i;

/** The working directory, in a listing of the environment. */
const WORKING_DIRECTORY = /(?:^|[^A-Za-z_])(?:OLD)?PWD$/;

export function isSecretName(given: string): boolean {
  const name = fold(given);
  return SECRET_NAME.test(name) && !HARMLESS_NAME.test(name) && !WORKING_DIRECTORY.test(name);
}
