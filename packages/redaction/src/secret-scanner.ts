import {
  type DetectorName,
  isIn,
  LOOKAHEAD_CHARS,
  LOOKBEHIND_CHARS,
  type Matcher,
  type NextStart,
  type Swallow,
  WORD_CHARS,
} from './matcher.ts';
import { AUTHORIZATION, JWT, URL_PASSWORD } from './matchers/credentials.ts';
import { PREFIXED_KEYS, PRIVATE_KEY } from './matchers/keys.ts';
import { CARD, EMAIL } from './matchers/personal.ts';
import { SECRET_VALUE } from './matchers/secret-value.ts';

/** A secret, or the rest of one that earlier pieces began: that has no name. */
export interface FoundSecret {
  readonly name: DetectorName | undefined;
  readonly from: number;
  readonly to: number;
}

interface Dispatch {
  /** By first character. */
  readonly matchers: readonly (readonly Matcher[] | undefined)[];
  /** Each for some of the matchers, together for all. */
  readonly begins: readonly NextStart[];
}

const dispatchTables = new WeakMap<readonly DetectorName[], Dispatch>();

/**
 * Finds the secrets of a text that arrives in pieces, the same however it was
 * cut. Positions count from the start of the text. Memory depends neither on the
 * length of the text nor on that of a secret.
 */
export class SecretScanner {
  readonly #dispatch: Dispatch;
  /** Some text already decided, to look back at; from #at on what waits. */
  #buffer = '';
  #bufferStart = 0;
  #at = 0;
  #swallow: Swallow | undefined;

  constructor(detectors: readonly DetectorName[]) {
    this.#dispatch = dispatchFor(detectors);
  }

  /** The position up to which secrets are known. */
  get decided(): number {
    return this.#bufferStart + this.#at;
  }

  /** With `final`, nothing follows the piece, and all of it is decided. */
  scan(piece: string, final: boolean): readonly FoundSecret[] {
    const text = this.#buffer + piece;
    const found: FoundSecret[] = [];
    const { begins } = this.#dispatch;
    const starts = new Starts(text, { begins, final });
    let at = this.#at;
    while (at < text.length) {
      if (this.#swallow !== undefined) {
        const { end, over } = this.#swallow(text, at, final);
        this.#add(found, { name: undefined, from: at, to: end });
        at = end;
        if (!over) break;
        this.#swallow = undefined;
        continue;
      }
      const secret = this.#matchAt(text, at, final);
      if (secret === 'more') break;
      if (secret === undefined) {
        at = starts.next(at + 1);
        continue;
      }
      const { match, name } = secret;
      this.#add(found, { name, from: at + match.keep, to: match.end });
      this.#swallow = match.swallow;
      at = match.end;
    }
    const keepFrom = Math.max(0, at - LOOKBEHIND_CHARS);
    this.#buffer = text.slice(keepFrom);
    this.#bufferStart += keepFrom;
    this.#at = at - keepFrom;
    return found;
  }

  /** Positions in the buffer become positions in the text. */
  #add(found: FoundSecret[], { name, from, to }: FoundSecret): void {
    const last = found.at(-1);
    const start = this.#bufferStart + from;
    const end = this.#bufferStart + to;
    if (name === undefined && last?.to === start) found[found.length - 1] = { ...last, to: end };
    else found.push({ name, from: start, to: end });
  }

  #matchAt(text: string, at: number, final: boolean) {
    const candidates = this.#dispatch.matchers[text.charCodeAt(at)];
    if (candidates === undefined) return undefined;
    // No detector matches from within a word, and most characters are there.
    if (isIn(WORD_CHARS, text, at) && isIn(WORD_CHARS, text, at - 1)) return undefined;
    for (const matcher of candidates) {
      const verdict = matcher.match(text, at, final);
      if (verdict === 'more') return 'more';
      if (verdict !== 'no') return { match: verdict, name: matcher.name };
    }
    return undefined;
  }
}

/** The positions of a text at which a matcher may find something. Native searches skip the rest. */
class Starts {
  readonly #text: string;
  readonly #begins: readonly NextStart[];
  /** For each of them the position it found last. */
  readonly #found: number[];
  /** What follows from here on may not have come yet. */
  readonly #undecided: number;

  constructor(
    text: string,
    { begins, final }: { readonly begins: readonly NextStart[]; readonly final: boolean },
  ) {
    this.#text = text;
    this.#begins = begins;
    this.#found = begins.map(() => -1);
    this.#undecided = final ? text.length : text.length - LOOKAHEAD_CHARS;
  }

  next(from: number): number {
    if (from >= this.#undecided) return from;
    let next = this.#undecided;
    for (const [index, begins] of this.#begins.entries()) {
      let found = this.#found[index] ?? -1;
      if (found < from) found = begins(this.#text, from);
      this.#found[index] = found;
      next = Math.min(next, found);
    }
    return next;
  }
}

/** Matchers by the character they start with, made once per list of detectors. */
function dispatchFor(detectors: readonly DetectorName[]): Dispatch {
  const known = dispatchTables.get(detectors);
  if (known !== undefined) return known;
  const chosen = MATCHERS.filter(({ name }) => detectors.includes(name));
  const matchers: (Matcher[] | undefined)[] = Array.from({ length: 128 }, () => undefined);
  for (const matcher of chosen) {
    for (const char of matcher.starts) {
      const code = char.charCodeAt(0);
      matchers[code] = [...(matchers[code] ?? []), matcher];
    }
  }
  const dispatch = { matchers, begins: beginsOf(chosen) };
  dispatchTables.set(detectors, dispatch);
  return dispatch;
}

function beginsOf(matchers: readonly Matcher[]): NextStart[] {
  const begins = matchers.map((matcher) => matcher.begins);
  const patterns = begins.filter((begin) => typeof begin === 'string');
  const isOfWord = (pattern: string) => /^[\w[]/.test(pattern);
  const words = patterns.filter(isOfWord).join('|') || '(?!)';
  const others = patterns.filter((pattern) => !isOfWord(pattern)).join('|') || '(?!)';
  // Those of words count only at the start of a word.
  const pattern = new RegExp(`\\b(?:${words})|${others}`, 'g');
  const byPattern: NextStart = (text, from) => {
    pattern.lastIndex = from;
    return pattern.exec(text)?.index ?? text.length;
  };
  return [byPattern, ...begins.filter((begin) => typeof begin === 'function')];
}

/** In order of precedence where two begin at the same character. */
const MATCHERS: readonly Matcher[] = [
  PRIVATE_KEY,
  JWT,
  AUTHORIZATION,
  ...PREFIXED_KEYS,
  URL_PASSWORD,
  SECRET_VALUE,
  CARD,
  EMAIL,
];
