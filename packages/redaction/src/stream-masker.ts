import {
  type DetectorName,
  isIn,
  LOOKBEHIND_CHARS,
  type Matcher,
  STREAM_DETECTORS,
  type Swallow,
  WORD_CHARS,
} from './matcher.ts';
import { AUTHORIZATION, JWT, URL_PASSWORD } from './matchers/credentials.ts';
import { PREFIXED_KEYS, PRIVATE_KEY } from './matchers/keys.ts';
import { CARD, EMAIL } from './matchers/personal.ts';
import { SECRET_VALUE } from './matchers/secret-value.ts';

type Dispatch = readonly (readonly Matcher[] | undefined)[];

const dispatchTables = new WeakMap<readonly DetectorName[], Dispatch>();

/**
 * Masks a text that arrives in pieces. What comes out is the same however it
 * was cut. Only text that may yet turn out to be the start of a secret waits;
 * a secret is replaced as soon as it is certain, and its rest is dropped as it
 * comes, so that memory does not depend on its length.
 */
export class StreamMasker {
  readonly #dispatch: Dispatch;
  readonly #found = new Set<DetectorName>();
  readonly #onMasked: ((detector: DetectorName) => void) | undefined;
  /** Some text already given out, to look back at; from #at on what waits. */
  #buffer = '';
  #at = 0;
  #swallow: Swallow | undefined;

  /** onMasked is called for each secret as it is replaced. */
  constructor(
    detectors: readonly DetectorName[] = STREAM_DETECTORS,
    onMasked?: (detector: DetectorName) => void,
  ) {
    this.#dispatch = dispatchFor(detectors);
    this.#onMasked = onMasked;
  }

  /** In order of first appearance. */
  get found(): readonly DetectorName[] {
    return [...this.#found];
  }

  get heldChars(): number {
    return this.#buffer.length - this.#at;
  }

  /** What may be shown now. */
  push(chunk: string): string {
    this.#buffer += chunk;
    return this.#advance(false);
  }

  /** The rest. The masker is then ready for another text. */
  end(): string {
    const rest = this.#advance(true);
    this.#buffer = '';
    this.#at = 0;
    this.#swallow = undefined;
    return rest;
  }

  #advance(final: boolean): string {
    const text = this.#buffer;
    let shown = '';
    let at = this.#at;
    let from = at;
    while (at < text.length) {
      if (this.#swallow !== undefined) {
        const { end, over } = this.#swallow(text, at, final);
        at = end;
        from = end;
        if (!over) break;
        this.#swallow = undefined;
        continue;
      }
      const found = this.#matchAt(text, at, final);
      if (found === 'more') break;
      if (found === undefined) {
        at++;
        continue;
      }
      const { match, name } = found;
      shown += `${text.slice(from, at + match.keep)}[masked:${name}]`;
      this.#found.add(name);
      this.#onMasked?.(name);
      this.#swallow = match.swallow;
      at = match.end;
      from = at;
    }
    shown += text.slice(from, at);
    const keepFrom = Math.max(0, at - LOOKBEHIND_CHARS);
    this.#buffer = text.slice(keepFrom);
    this.#at = at - keepFrom;
    return shown;
  }

  #matchAt(text: string, at: number, final: boolean) {
    const candidates = this.#dispatch[text.charCodeAt(at)];
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

/** Matchers by the character they start with, made once per list of detectors. */
function dispatchFor(detectors: readonly DetectorName[]): Dispatch {
  const known = dispatchTables.get(detectors);
  if (known !== undefined) return known;
  const table: (Matcher[] | undefined)[] = Array.from({ length: 128 }, () => undefined);
  for (const matcher of MATCHERS) {
    if (!detectors.includes(matcher.name)) continue;
    for (const char of matcher.starts) {
      const code = char.charCodeAt(0);
      table[code] = [...(table[code] ?? []), matcher];
    }
  }
  dispatchTables.set(detectors, table);
  return table;
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
