import type { DetectorName } from './detectors.ts';

/** Matchers look back at most this far, so that a stream need keep no more. */
export const LOOKBEHIND_CHARS = 64;

/**
 * Goes on over text that is part of a secret already replaced. Gives the index
 * up to which all is swallowed, and whether the secret is over.
 */
export type Swallow = (text: string, at: number, final: boolean) => { end: number; over: boolean };

export interface Match {
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
export type Verdict = 'no' | 'more' | Match;

export interface Matcher {
  readonly name: DetectorName;
  /** Characters a match can start with; those of words only at the start of a word. */
  readonly starts: string;
  match(text: string, at: number, final: boolean): Verdict;
}

/** The answer where the text ends before the decision. */
export function undecided(final: boolean): Verdict {
  return final ? 'no' : 'more';
}
