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
const CONTROLS = /[^\P{Cc}\n\t]/gu;
/** Bidirectional controls and line separators could make one line look like two of ours. */
const LAYOUT = /[\p{Bidi_C}\u2028\u2029]/gu;

/** Text from a model, a tool or a server, without anything that controls the terminal. */
export function foreignText(text: string): string {
  return text.replace(ESCAPES, '').replace(CONTROLS, '');
}

/** The same for a name or a message: one line of bounded length. */
export function foreignLine(text: string, maxChars = 500): string {
  const line = foreignText(text)
    .replace(LAYOUT, '')
    .replace(/[\n\t]+/g, ' ');
  return line.length > maxChars ? `${line.slice(0, maxChars)}…` : line;
}
