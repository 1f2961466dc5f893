/**
 * After ECMA-48. Node's stripVTControlCharacters takes quadratic time on
 * hostile text; here no match can start inside another.
 */
const ESCAPE_SEQUENCES = [
  // With parameters.
  String.raw`(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]`,
  // With a text, such as a window title.
  String.raw`(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u0080-\u009f]*(?:\u0007|\u001b\\|\u009c)`,
  String.raw`\u001b[ -/]*[0-~]`,
];
const ESCAPES = new RegExp(ESCAPE_SEQUENCES.join('|'), 'gu');
/** C0, DEL and C1, except newline and tab. */
const CONTROLS = String.raw`[^\P{Cc}\n\t]`;
/** What reorders text, and what has no width by definition: joiners, selectors, tags, fillers, separators. */
const HIDDEN = String.raw`[\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]`;

/** Scripts in which a joiner decides how letters look, by UAX 31; in others it only splits words unseen. */
const JOINING_SCRIPTS = [
  ...['Arabic', 'Syriac', 'Nko', 'Mandaic', 'Mongolian', 'Adlam', 'Devanagari', 'Bengali'],
  ...['Gurmukhi', 'Gujarati', 'Oriya', 'Tamil', 'Telugu', 'Kannada', 'Malayalam', 'Sinhala'],
];
const JOINING = `[${JOINING_SCRIPTS.map((name) => `\\p{Script=${name}}`).join('')}]`;

/** The hidden characters that spelling and emoji need, each in the one place where it means something. */
const NEEDED = [
  String.raw`(?<=${JOINING})[\u200c\u200d](?=${JOINING})`,
  // A virama with a joiner also ends words.
  String.raw`(?<=[\p{M}&&${JOINING}])\u200d`,
  String.raw`(?<=\p{Script=Mongolian})[\u180b-\u180f]`,
  String.raw`(?<=\p{Script=Han})[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]`,
  String.raw`(?<=\p{Extended_Pictographic})[\ufe0e\ufe0f]`,
  String.raw`(?<=[0-9#*])\ufe0f(?=\u20e3)`,
  String.raw`(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u200d(?=\p{Extended_Pictographic})`,
  // The flags of England, Scotland and Wales.
  String.raw`(?<=\u{1f3f4})\u{e0067}\u{e0062}(?:\u{e0065}\u{e006e}\u{e0067}|\u{e0073}\u{e0063}\u{e0074}|\u{e0077}\u{e006c}\u{e0073})\u{e007f}`,
].join('|');
const UNSEEN = new RegExp(`(?<needed>${NEEDED})|${HIDDEN}|${CONTROLS}`, 'gv');
const UNSEEN_IN_JSON = new RegExp(`${HIDDEN}|\\p{Cc}`, 'gv');
/** The longest sequence that the next character may give a meaning; a longer one has none. */
const UNDECIDED_TAIL = new RegExp(`${HIDDEN}{1,8}$`, 'v');

/**
 * Text from a model, a tool, a file or a peer, without what controls the
 * terminal, reorders text or hides in it.
 */
export function foreignText(text: string): string {
  return text
    .replace(ESCAPES, '')
    .replace(UNSEEN, (found, needed: string | undefined) => needed ?? lineBreakOf(found))
    .toWellFormed();
}

function lineBreakOf(found: string): string {
  return found === '\u2028' || found === '\u2029' ? '\n' : '';
}

/** The same for a name or a message: one line of bounded length. */
export function foreignLine(text: string, maxChars = 500): string {
  const line = foreignText(text).replace(/[\n\t]+/g, ' ');
  return line.length > maxChars ? `${line.slice(0, maxChars)}…` : line;
}

/** `foreignText` for a text that arrives in pieces: a joiner waits for what it joins. */
export class ForeignText {
  /** The last character shown, on which the next may depend. */
  #last = '';
  #held = '';

  push(piece: string): string {
    const text = this.#held + piece;
    this.#held = UNDECIDED_TAIL.exec(text)?.[0] ?? '';
    return this.#show(text.slice(0, text.length - this.#held.length));
  }

  /** The rest. It is then ready for another text. */
  end(): string {
    const rest = this.#show(this.#held);
    this.#held = '';
    this.#last = '';
    return rest;
  }

  #show(text: string): string {
    const shown = foreignText(this.#last + text).slice(this.#last.length);
    const last = [...shown.slice(-2)].at(-1);
    if (last !== undefined) this.#last = UNDECIDED_TAIL.test(last) ? '' : last;
    return shown;
  }
}

/** The same JSON in one line, with escapes for whatever `foreignText` could remove. */
export function escapeUnseen(json: string): string {
  return json.replace(UNSEEN_IN_JSON, (found) => found.split('').map(escapeOf).join(''));
}

function escapeOf(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
