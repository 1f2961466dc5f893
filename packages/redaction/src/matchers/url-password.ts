import { charSet, isIn } from '../char-set.ts';
import { type Matcher, undecided } from '../matcher.ts';

const MAX_USER_CHARS = 128;
const MAX_PASSWORD_CHARS = 512;

const outsideAuthority = charSet(/[\s/?#"'<>`\\]/);

/**
 * The password of scheme://user:password@host. Starts at the second slash, so
 * that no colon of prose waits for what follows it.
 */
export const urlPassword: Matcher = {
  name: 'url-password',
  starts: '/',
  match(text, at, final) {
    if (text.charAt(at - 1) !== '/' || text.charAt(at - 2) !== ':') return 'no';
    const colon = find(text, at + 1, { stop: ':', maxChars: MAX_USER_CHARS });
    if (colon === 'more') return undecided(final);
    if (colon === undefined) return 'no';
    const sign = find(text, colon + 1, { stop: '@', maxChars: MAX_PASSWORD_CHARS });
    if (sign === 'more') return undecided(final);
    if (sign === undefined || sign === colon + 1) return 'no';
    return { keep: colon + 1 - at, end: sign };
  },
};

function find(
  text: string,
  from: number,
  { stop, maxChars }: { stop: string; maxChars: number },
): number | 'more' | undefined {
  for (let index = from; index - from <= maxChars; index++) {
    if (index >= text.length) return 'more';
    if (text.charAt(index) === stop) return index;
    if (text.charAt(index) === '@' || isIn(outsideAuthority, text, index)) return undefined;
  }
  return undefined;
}
