import { BASE64_URL, charSet, DIGITS, isIn, type Matcher, undecided } from '../matcher.ts';
import { swallowRun } from '../swallow.ts';

const SCHEMES = ['bearer', 'basic'];
const MAX_SPACES = 4;
const MIN_TOKEN_CHARS = 8;
/** No word of prose is as long, so it need not contain what words do not. */
const CERTAIN_TOKEN_CHARS = 24;

const TOKEN_CHARS = charSet(/[A-Za-z0-9._~+/=-]/);
const SPACES = charSet(/[ \t]/);
const UNLIKE_WORDS = charSet(/[0-9_~+=]/);
const TOKEN_SWALLOW = swallowRun(charSet(/[A-Za-z0-9_~+/=-]/), charSet(/[.]/));

/** The credential of an Authorization header, wherever it stands. */
export const AUTHORIZATION: Matcher = {
  name: 'authorization',
  starts: 'bB',
  begins: '[bB](?:[eE][aA][rR][eE][rR]|[aA][sS][iI][cC])',
  match(text, at, final) {
    const scheme = schemeAt(text, at);
    if (scheme === undefined) return 'no';
    if (scheme === 'more') return undecided(final);
    let start = at + scheme.length;
    while (start - at - scheme.length < MAX_SPACES && isIn(SPACES, text, start)) start++;
    if (start >= text.length) return undecided(final);
    if (start === at + scheme.length) return 'no';
    let strong = false;
    for (let index = start; ; index++) {
      const length = index - start;
      if (length >= CERTAIN_TOKEN_CHARS || (strong && length >= MIN_TOKEN_CHARS)) {
        return { keep: start - at, end: index, swallow: TOKEN_SWALLOW };
      }
      if (index >= text.length) return undecided(final);
      if (!isIn(TOKEN_CHARS, text, index)) return 'no';
      strong ||= isIn(DIGITS, text, index) || isIn(UNLIKE_WORDS, text, index);
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

/** What {" becomes in base64url. */
const PREFIX = 'eyJ';

/** A header with a certificate chain is longer, and then follows the word Bearer. */
const MAX_HEADER_CHARS = 4096;
const MIN_HEADER_CHARS = 10;
/** A dash stands for > or ~ in the header's JSON. Behind each one another token might begin. */
const MAX_HEADER_DASHES = 8;
const MIN_PAYLOAD_CHARS = 8;

const JWT_SWALLOW = swallowRun(BASE64_URL, charSet(/[.]/));

/**
 * JWS or JWE in compact form. Asks for the dot: base64 of JSON alone is no
 * secret (payloads of our own signed envelopes look so).
 */
export const JWT: Matcher = {
  name: 'jwt',
  starts: PREFIX.charAt(0),
  begins: PREFIX,
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
      if (!isIn(BASE64_URL, text, index)) return 'no';
    }
    return { keep: 0, end: certain, swallow: JWT_SWALLOW };
  },
};

function headerEnd(text: string, from: number): number {
  let end = from;
  let dashes = 0;
  while (end - from < MAX_HEADER_CHARS && isIn(BASE64_URL, text, end)) {
    if (text.charAt(end) === '-' && ++dashes > MAX_HEADER_DASHES) break;
    end++;
  }
  return end;
}

const MAX_USER_CHARS = 128;
const MAX_PASSWORD_CHARS = 512;

const OUTSIDE_AUTHORITY = charSet(/[\s/?#"'<>`\\]/);

/**
 * The password of scheme://user:password@host. Starts at the second slash, so
 * that no colon of prose waits for what follows it.
 */
export const URL_PASSWORD: Matcher = {
  name: 'url-password',
  starts: '/',
  begins(text, from) {
    const scheme = text.indexOf('://', Math.max(0, from - 2));
    return scheme === -1 ? text.length : scheme + 2;
  },
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
    if (text.charAt(index) === '@' || isIn(OUTSIDE_AUTHORITY, text, index)) return undefined;
  }
  return undefined;
}
