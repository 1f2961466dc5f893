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

export const wordChars = charSet(/[A-Za-z0-9_]/);
export const digits = charSet(/[0-9]/);
export const base64Url = charSet(/[A-Za-z0-9_-]/);
