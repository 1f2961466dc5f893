import { stripVTControlCharacters } from 'node:util';

/** C0, DEL and C1, without the two that only lay text out. */
const controls = /[^\P{Cc}\n\t]/gu;
/** A line of facts has one direction, and no second line that looks like ours. */
const layout = /[\p{Bidi_C}\u2028\u2029]/gu;

/** What a model, a tool or a server said, unable to steer the terminal that shows it. */
export function foreignText(text: string): string {
  return stripVTControlCharacters(text).replace(controls, '');
}

/** The same for a name or a message, which gets one line and so much of it. */
export function foreignLine(text: string, maxChars = 500): string {
  const line = foreignText(text)
    .replace(layout, '')
    .replace(/[\n\t]+/g, ' ');
  return line.length > maxChars ? `${line.slice(0, maxChars)}…` : line;
}
