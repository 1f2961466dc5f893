/** Code points as inclusive ranges; overlaps between the ranges do no harm. */
export type CharSet = readonly (readonly [from: number, to: number])[];

const LAST = 0x10ffff;

export const ANY: CharSet = [[0, LAST]];

const DIGIT: CharSet = [[0x30, 0x39]];
const WORD: CharSet = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACE: CharSet = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];

/** \d, \W and the like. Unicode properties stand for every character, which errs on the safe side. */
export function escapeClass(letter: string): CharSet | undefined {
  switch (letter) {
    case 'd':
      return DIGIT;
    case 'D':
      return complement(DIGIT);
    case 'w':
      return WORD;
    case 'W':
      return complement(WORD);
    case 's':
      return SPACE;
    case 'S':
      return complement(SPACE);
    case 'p':
    case 'P':
      return ANY;
    default:
      return undefined;
  }
}

export function complement(set: CharSet): CharSet {
  const result: [number, number][] = [];
  let next = 0;
  for (const [from, to] of [...set].sort((a, b) => a[0] - b[0])) {
    if (from > next) result.push([next, from - 1]);
    next = Math.max(next, to + 1);
  }
  if (next <= LAST) result.push([next, LAST]);
  return result;
}

export function overlaps(a: CharSet, b: CharSet): boolean {
  return a.some(([from, to]) =>
    b.some(([otherFrom, otherTo]) => from <= otherTo && otherFrom <= to),
  );
}
