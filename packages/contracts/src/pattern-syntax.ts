import { ANY, type CharSet, complement, escapeClass } from './char-set.ts';

/** What of a regular expression decides how long it can take. */
export type PatternNode =
  | { readonly kind: 'char'; readonly set: CharSet }
  /** ^, $ and \b: they only ever end a try early, so leaving them out errs on the safe side. */
  | { readonly kind: 'assertion'; readonly start: boolean }
  | { readonly kind: 'concat'; readonly parts: readonly PatternNode[] }
  | { readonly kind: 'choice'; readonly options: readonly PatternNode[] }
  | {
      readonly kind: 'repeat';
      readonly body: PatternNode;
      readonly min: number;
      readonly max: number;
    };

export class UnsupportedPattern extends Error {}

/** Of a source that new RegExp(source, 'u') has accepted. */
export function parsePattern(source: string): PatternNode {
  return new Parser([...source]).choice();
}

const CONTROL_ESCAPES: Readonly<Record<string, number>> = {
  t: 9,
  n: 10,
  v: 11,
  f: 12,
  r: 13,
  0: 0,
};

class Parser {
  readonly #chars: readonly string[];
  #at = 0;

  constructor(chars: readonly string[]) {
    this.#chars = chars;
  }

  choice(): PatternNode {
    const options = [this.#concat()];
    while (this.#take('|')) options.push(this.#concat());
    return options.length === 1 && options[0] ? options[0] : { kind: 'choice', options };
  }

  #concat(): PatternNode {
    const parts: PatternNode[] = [];
    for (let char = this.#peek(); char !== undefined && char !== '|' && char !== ')'; ) {
      parts.push(this.#quantified(this.#atom()));
      char = this.#peek();
    }
    return { kind: 'concat', parts };
  }

  #atom(): PatternNode {
    const char = this.#next();
    switch (char) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'char', set: this.#class() };
      case '.':
        return { kind: 'char', set: ANY };
      case '^':
        return { kind: 'assertion', start: true };
      case '$':
        return { kind: 'assertion', start: false };
      case '\\':
        return this.#escapedAtom();
      default:
        return { kind: 'char', set: single(codeOf(char)) };
    }
  }

  #group(): PatternNode {
    if (this.#take('?') && !this.#take(':')) {
      const named = this.#take('<') && this.#peek() !== '=' && this.#peek() !== '!';
      if (!named) throw new UnsupportedPattern('looks ahead or behind, or changes flags');
      while (this.#next() !== '>');
    }
    const body = this.choice();
    this.#next();
    return body;
  }

  #escapedAtom(): PatternNode {
    const letter = this.#peek() ?? '';
    if (letter === 'b' || letter === 'B') {
      this.#next();
      return { kind: 'assertion', start: false };
    }
    if (/[1-9k]/.test(letter)) throw new UnsupportedPattern('refers back to a group');
    return { kind: 'char', set: this.#escape() };
  }

  #escape(): CharSet {
    const letter = this.#next();
    const set = escapeClass(letter);
    if (set !== undefined) {
      if (letter === 'p' || letter === 'P') while (this.#next() !== '}');
      return set;
    }
    if (letter === 'u') return single(this.#unicodeEscape());
    if (letter === 'x') return single(Number.parseInt(this.#nextChars(2), 16));
    if (letter === 'c') return single(codeOf(this.#next()) % 32);
    return single(CONTROL_ESCAPES[letter] ?? codeOf(letter));
  }

  #unicodeEscape(): number {
    if (this.#take('{')) {
      let digits = '';
      for (let char = this.#next(); char !== '}'; char = this.#next()) digits += char;
      return Number.parseInt(digits, 16);
    }
    const digits = this.#nextChars(4);
    // Two escapes of surrogates are one character.
    const [, low] =
      /^\\u(d[c-f]..)$/i.exec(this.#chars.slice(this.#at, this.#at + 6).join('')) ?? [];
    if (low === undefined || !/^d[89ab]/i.test(digits)) return Number.parseInt(digits, 16);
    this.#nextChars(6);
    return codeOf(String.fromCharCode(Number.parseInt(digits, 16), Number.parseInt(low, 16)));
  }

  #nextChars(count: number): string {
    let chars = '';
    while (chars.length < count) chars += this.#next();
    return chars;
  }

  #class(): CharSet {
    const negated = this.#take('^');
    const ranges: (readonly [number, number])[] = [];
    let hasProperty = false;
    while (!this.#take(']')) {
      const from = this.#classMember();
      hasProperty ||= from === ANY;
      if (this.#peek() === '-' && this.#chars[this.#at + 1] !== ']') {
        this.#next();
        ranges.push([from[0]?.[0] ?? 0, this.#classMember()[0]?.[1] ?? 0]);
      } else {
        ranges.push(...from);
      }
    }
    if (!negated) return ranges;
    // A property stands for more than it is, and all but it would be less.
    return hasProperty ? ANY : complement(ranges);
  }

  #classMember(): CharSet {
    const char = this.#next();
    if (char !== '\\') return single(codeOf(char));
    return this.#take('b') ? single(8) : this.#escape();
  }

  #quantified(body: PatternNode): PatternNode {
    const bounds = this.#bounds();
    if (bounds === undefined) return body;
    this.#take('?');
    return { kind: 'repeat', body, ...bounds };
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#take('*')) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.#take('+')) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (!this.#take('{')) return undefined;
    let text = '';
    for (let char = this.#next(); char !== '}'; char = this.#next()) text += char;
    const [min, max] = text.split(',');
    if (max === undefined) return { min: Number(min), max: Number(min) };
    return { min: Number(min), max: max === '' ? Number.POSITIVE_INFINITY : Number(max) };
  }

  #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #next(): string {
    const char = this.#chars[this.#at++];
    if (char === undefined) throw new UnsupportedPattern('ends too early');
    return char;
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false;
    this.#at++;
    return true;
  }
}

function single(code: number): CharSet {
  return [[code, code]];
}

function codeOf(char: string): number {
  return char.codePointAt(0) ?? 0;
}
