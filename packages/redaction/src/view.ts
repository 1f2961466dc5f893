/** Where a view and its text differ: from `at` on, positions in the text are `shift` further. */
interface Shift {
  readonly at: number;
  readonly shift: number;
  /** Belongs to the character before `at`, rather than standing between two. */
  readonly isTight: boolean;
}

/**
 * A text as a detector should read it, and the way back to the positions of the
 * text itself. Positions only grow from question to question.
 */
export class View {
  readonly #foldsOnly: boolean;
  readonly #pattern: RegExp;
  readonly #decode: (found: string) => string;
  readonly #shifts: Shift[] = [];
  #length = 0;
  #next = 0;
  #shift = 0;

  private constructor(pattern: RegExp, decode: (found: string) => string) {
    this.#foldsOnly = pattern === FOLDABLE;
    this.#pattern = pattern;
    this.#decode = decode;
  }

  /** Without invisible characters, and with plain letters for compatibility forms. */
  static plain(): View {
    return new View(FOLDABLE, foldCharacter);
  }

  /** With percent, \u and \x escapes decoded as well. */
  static unescaped(): View {
    return new View(ESCAPED_OR_FOLDABLE, (found) => foldCharacter(decodeEscape(found)));
  }

  /** The view of the text's next piece. */
  read(piece: string): string {
    const start = this.#length;
    if (this.#foldsOnly && isAscii(piece)) {
      this.#length += piece.length;
      return piece;
    }
    let shift = 0;
    const view = piece.replace(this.#pattern, (found, offset: number) => {
      const decoded = this.#decode(found);
      const more = found.length - decoded.length;
      if (more > 0) {
        const at = start + offset - shift + decoded.length;
        this.#shifts.push({ at, shift: more, isTight: decoded !== '' });
        shift += more;
      }
      return decoded;
    });
    this.#length += view.length;
    return view;
  }

  /** Where the character at a position of the view begins in the text. */
  startOf(position: number): number {
    return this.#textPosition(position, true);
  }

  /** Where the character before a position of the view ends in the text. */
  endOf(position: number): number {
    return this.#textPosition(position, false);
  }

  #textPosition(position: number, isStart: boolean): number {
    for (; this.#next < this.#shifts.length; this.#next++) {
      const next = this.#shifts[this.#next];
      const isBefore =
        next !== undefined && next.at <= position - (isStart || next.isTight ? 0 : 1);
      if (!isBefore) break;
      this.#shift += next.shift;
    }
    return position + this.#shift;
  }
}

/** A name as `View.plain` shows it. */
export function fold(name: string): string {
  return isAscii(name) ? name : name.replace(FOLDABLE, foldCharacter);
}

/** Nothing of it is folded. Counting the bytes of UTF-8 is the fastest way to know. */
function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

/** What has no width, and the blocks with compatibility forms of ASCII characters. */
const FOLDABLE =
  /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u00aa\u00b2\u00b3\u00b9\u00ba\u02b0-\u02b8\u02e0-\u02e4\u2024\u2070-\u209c\u2100-\u217f\u2460-\u24ff\ufe50-\ufe6b\uff01-\uff5e\u{1d400}-\u{1d7ff}\u{1fbf0}-\u{1fbf9}]/gu;
const ESCAPED_OR_FOLDABLE = new RegExp(
  String.raw`%[0-7][0-9A-Fa-f]|\\{1,8}(?:u[0-9A-Fa-f]{4}|x[0-7][0-9A-Fa-f])|${FOLDABLE.source}`,
  'gu',
);
export const ESCAPE = /%[0-7][0-9A-Fa-f]|\\(?:u[0-9A-Fa-f]{4}|x[0-7][0-9A-Fa-f])/;

const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}]/u;
/** Others, such as quotes, would end a value that goes on. */
const SECRET_CHARS = /^[A-Za-z0-9_=:@./+-]$/;

function foldCharacter(char: string): string {
  if (UNSEEN.test(char)) return '';
  const folded = char.normalize('NFKC');
  return SECRET_CHARS.test(folded) ? folded : char;
}

function decodeEscape(found: string): string {
  const digits = /^(?:%|\\+[ux])([0-9A-Fa-f]+)$/.exec(found)?.[1];
  return digits === undefined ? found : String.fromCharCode(Number.parseInt(digits, 16));
}
