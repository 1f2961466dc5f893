import { charSet, isIn } from '../char-set.ts';
import { type Matcher, undecided } from '../matcher.ts';
import { swallowRun } from '../swallow-run.ts';

/** RFC 5321. */
const MAX_LOCAL_CHARS = 64;
const MAX_DOMAIN_CHARS = 253;

const localChars = charSet(/[A-Za-z0-9._%+-]/);
const labelChars = charSet(/[A-Za-z0-9-]/);
const letters = charSet(/[A-Za-z]/);
const swallow = swallowRun(labelChars, charSet(/[.]/));

export const email: Matcher = {
  name: 'email',
  starts: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-',
  match(text, at, final) {
    if (isIn(localChars, text, at - 1)) return 'no';
    let sign = at;
    while (sign - at <= MAX_LOCAL_CHARS && isIn(localChars, text, sign)) sign++;
    if (sign - at > MAX_LOCAL_CHARS) return 'no';
    if (sign >= text.length) return undecided(final);
    if (text.charAt(sign) !== '@') return 'no';
    for (let index = sign + 1; index - sign <= MAX_DOMAIN_CHARS; index++) {
      if (index >= text.length) return undecided(final);
      // A dot and two letters make a domain; what follows is swallowed.
      const certain =
        index > sign + 3 &&
        text.charAt(index - 2) === '.' &&
        isIn(letters, text, index - 1) &&
        isIn(letters, text, index);
      if (certain) return { keep: 0, end: index + 1, swallow };
      const dot = text.charAt(index) === '.' && isIn(labelChars, text, index - 1);
      if (!dot && !isIn(labelChars, text, index)) return 'no';
    }
    return 'no';
  },
};
