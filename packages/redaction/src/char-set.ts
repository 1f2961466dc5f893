/** Membership of ASCII characters, as a table: asked once per character of every text. */
export type CharSet = Uint8Array;

const ASCII_CODES = 128;

export function charSet(pattern: RegExp): CharSet {
  const set = new Uint8Array(ASCII_CODES);
  for (let code = 0; code < ASCII_CODES; code++) {
    set[code] = pattern.test(String.fromCharCode(code)) ? 1 : 0;
  }
  return set;
}

/** False outside the text. */
export function isIn(set: CharSet, text: string, index: number): boolean {
  // charCodeAt is NaN outside the text, which no table has an entry for.
  return set[text.charCodeAt(index)] === 1;
}

export const wordChars = charSet(/[A-Za-z0-9_]/);
export const digits = charSet(/[0-9]/);
export const base64Url = charSet(/[A-Za-z0-9_-]/);
