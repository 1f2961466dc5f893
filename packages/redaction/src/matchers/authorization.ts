import { charSet, digits, isIn } from '../char-set.ts';
import { type Matcher, undecided } from '../matcher.ts';
import { swallowRun } from '../swallow-run.ts';

const SCHEMES = ['bearer', 'basic'];
const MAX_SPACES = 4;
const MIN_TOKEN_CHARS = 8;
/** No word of prose is as long, so it need not contain what words do not. */
const CERTAIN_TOKEN_CHARS = 24;

const tokenChars = charSet(/[A-Za-z0-9._~+/=-]/);
const spaces = charSet(/[ \t]/);
const unlikeWords = charSet(/[0-9_~+=]/);
const swallow = swallowRun(charSet(/[A-Za-z0-9_~+/=-]/), charSet(/[.]/));

/** The credential of an Authorization header, wherever it stands. */
export const authorization: Matcher = {
  name: 'authorization',
  starts: 'bB',
  match(text, at, final) {
    const scheme = schemeAt(text, at);
    if (scheme === undefined) return 'no';
    if (scheme === 'more') return undecided(final);
    let start = at + scheme.length;
    while (start - at - scheme.length < MAX_SPACES && isIn(spaces, text, start)) start++;
    if (start >= text.length) return undecided(final);
    if (start === at + scheme.length) return 'no';
    let strong = false;
    for (let index = start; ; index++) {
      const length = index - start;
      if (length >= CERTAIN_TOKEN_CHARS || (strong && length >= MIN_TOKEN_CHARS)) {
        return { keep: start - at, end: index, swallow };
      }
      if (index >= text.length) return undecided(final);
      if (!isIn(tokenChars, text, index)) return 'no';
      strong ||= isIn(digits, text, index) || isIn(unlikeWords, text, index);
    }
  },
};

function schemeAt(text: string, at: number): string | undefined {
  for (const scheme of SCHEMES) {
    const found = text.slice(at, at + scheme.length).toLowerCase();
    if (found === scheme) return scheme;
    if (at + found.length >= text.length && scheme.startsWith(found)) return 'more';
  }
  return undefined;
}
