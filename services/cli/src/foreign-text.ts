/**
 * As ECMA-48 has them. Node's stripVTControlCharacters takes time in the square
 * of a text that is made for it; here every run ends before another can begin.
 */
const escapeSequences = [
  // With parameters.
  String.raw`(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]`,
  // With a text, as a title.
  String.raw`(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u0080-\u009f]*(?:\u0007|\u001b\\|\u009c)`,
  String.raw`\u001b[ -/]*[0-~]`,
];
const escapes = new RegExp(escapeSequences.join('|'), 'gu');
/** C0, DEL and C1, without the two that only lay text out. */
const controls = /[^\P{Cc}\n\t]/gu;
/** A line of facts has one direction, and no second line that looks like ours. */
const layout = /[\p{Bidi_C}\u2028\u2029]/gu;

/** What a model, a tool or a server said, unable to steer the terminal that shows it. */
export function foreignText(text: string): string {
  return text.replace(escapes, '').replace(controls, '');
}

/** The same for a name or a message, which gets one line and so much of it. */
export function foreignLine(text: string, maxChars = 500): string {
  const line = foreignText(text)
    .replace(layout, '')
    .replace(/[\n\t]+/g, ' ');
  return line.length > maxChars ? `${line.slice(0, maxChars)}…` : line;
}
