export const ALL_DETECTORS = [
  'private-key',
  'jwt',
  'authorization',
  'anthropic-key',
  'openai-key',
  'aws-key',
  'google-key',
  'github-token',
  'gitlab-token',
  'slack-token',
  'stripe-key',
  'huggingface-token',
  'npm-token',
  'url-password',
  'secret',
  'card',
  'email',
] as const;

export type DetectorName = (typeof ALL_DETECTORS)[number];

/**
 * Without e-mail: any word could begin an address, so every word would wait
 * for the next, and the first token with it.
 */
export const STREAM_DETECTORS: readonly DetectorName[] = ALL_DETECTORS.filter(
  (name) => name !== 'email',
);

/**
 * Membership of characters, as a table: asked once per character of every
 * text. One entry for each of ASCII, and one for all that is beyond.
 */
export type CharSet = Uint8Array;

const BEYOND_ASCII = 128;

export function charSet(pattern: RegExp): CharSet {
  const set = new Uint8Array(BEYOND_ASCII + 1);
  for (let code = 0; code < BEYOND_ASCII; code++) {
    set[code] = pattern.test(String.fromCharCode(code)) ? 1 : 0;
  }
  set[BEYOND_ASCII] = pattern.test('\u00e9') ? 1 : 0;
  return set;
}

/** False outside the text. */
export function isIn(set: CharSet, text: string, index: number): boolean {
  // NaN outside the text, which is neither below nor above.
  const code = text.charCodeAt(index);
  if (code < BEYOND_ASCII) return set[code] === 1;
  return code >= BEYOND_ASCII && set[BEYOND_ASCII] === 1;
}

export const WORD_CHARS = charSet(/[A-Za-z0-9_]/);
export const DIGITS = charSet(/[0-9]/);
export const BASE64_URL = charSet(/[A-Za-z0-9_-]/);

/** Matchers look back at most this far, so that a stream need keep no more. */
export const LOOKBEHIND_CHARS = 64;

/** As far as a matcher looks to know that no match begins. */
export const LOOKAHEAD_CHARS = 65;

/**
 * Skips text that is part of a secret already replaced. Returns the index
 * up to which all is swallowed, and whether the secret is over.
 */
export type Swallow = (text: string, at: number, final: boolean) => { end: number; over: boolean };

export interface SecretMatch {
  /** Characters from the start that are shown: the key of key=value. */
  readonly keep: number;
  /** Where the text goes on after what is certainly secret. */
  readonly end: number;
  /** Set where more of the secret may follow. */
  readonly swallow?: Swallow;
}

/**
 * no and Match must hold whatever text follows; otherwise the answer is more.
 * That is what makes the masked text independent of how it was cut in chunks.
 * With final, nothing follows, and more is not an answer.
 */
export type Verdict = 'no' | 'more' | SecretMatch;

/** Returns a position before which no match begins, and `text.length` when none begins at all. */
export type NextStart = (text: string, from: number) => number;

export interface Matcher {
  readonly name: DetectorName;
  /** Characters a match can start with; those of words only at the start of a word. */
  readonly starts: string;
  /** How every match begins, as a regular expression; or else where one may begin next. */
  readonly begins: string | NextStart;
  match(text: string, at: number, final: boolean): Verdict;
}

/** The answer where the text ends before the decision. */
export function undecided(final: boolean): Verdict {
  return final ? 'no' : 'more';
}
