import { base64Url, charSet, isIn } from '../char-set.ts';
import { type Matcher, undecided } from '../matcher.ts';
import { swallowRun } from '../swallow-run.ts';

/** What {" becomes in base64url. */
const PREFIX = 'eyJ';

/** A header with a certificate chain is longer, and then follows the word Bearer. */
const MAX_HEADER_CHARS = 4096;
const MIN_HEADER_CHARS = 10;
/** A dash stands for > or ~ in the header's JSON. Behind each one another token might begin. */
const MAX_HEADER_DASHES = 8;
const MIN_PAYLOAD_CHARS = 8;

const swallow = swallowRun(base64Url, charSet(/[.]/));

/**
 * JWS or JWE in compact form. Asks for the dot: base64 of JSON alone is no
 * secret (payloads of our own signed envelopes look so).
 */
export const jwt: Matcher = {
  name: 'jwt',
  starts: PREFIX.charAt(0),
  match(text, at, final) {
    for (let index = 0; index < PREFIX.length; index++) {
      if (at + index >= text.length) return undecided(final);
      if (text.charCodeAt(at + index) !== PREFIX.charCodeAt(index)) return 'no';
    }
    const dot = headerEnd(text, at + PREFIX.length);
    if (dot >= text.length) return undecided(final);
    if (dot - at < MIN_HEADER_CHARS || text.charAt(dot) !== '.') return 'no';
    const certain = dot + 1 + MIN_PAYLOAD_CHARS;
    for (let index = dot + 1; index < certain; index++) {
      if (index >= text.length) return undecided(final);
      if (!isIn(base64Url, text, index)) return 'no';
    }
    return { keep: 0, end: certain, swallow };
  },
};

function headerEnd(text: string, from: number): number {
  let end = from;
  let dashes = 0;
  while (end - from < MAX_HEADER_CHARS && isIn(base64Url, text, end)) {
    if (text.charAt(end) === '-' && ++dashes > MAX_HEADER_DASHES) break;
    end++;
  }
  return end;
}
