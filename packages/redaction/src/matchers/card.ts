import { charSet, digits, isIn } from '../char-set.ts';
import { type Matcher, undecided } from '../matcher.ts';

const MAX_DIGITS = 19;

/** Issuer prefixes and their lengths; without them one number in ten passes Luhn. */
const issuers: readonly { prefix: RegExp; lengths: readonly number[] }[] = [
  { prefix: /^4/, lengths: [16, 19] },
  { prefix: /^(?:5[1-5]|2[2-7])/, lengths: [16] },
  { prefix: /^3[47]/, lengths: [15] },
  { prefix: /^3[068]/, lengths: [14, 16] },
  { prefix: /^35/, lengths: [16] },
  { prefix: /^6/, lengths: [16, 19] },
];

/** Also a part of a decimal fraction or of an identifier is no card. */
const before = charSet(/[A-Za-z0-9_.]/);
const separators = charSet(/[ -]/);

export const card: Matcher = {
  name: 'card',
  starts: '23456',
  match(text, at, final) {
    if (isIn(before, text, at - 1)) return 'no';
    let number = '';
    for (let index = at; number.length <= MAX_DIGITS; index++) {
      if (isIn(digits, text, index)) {
        number += text.charAt(index);
        continue;
      }
      if (index >= text.length && !final) return 'more';
      if (isCard(number)) return { keep: 0, end: index };
      // One separator between groups; the digit after it may not have come yet.
      if (!isIn(separators, text, index)) return 'no';
      if (index + 1 >= text.length) return undecided(final);
      if (!isIn(digits, text, index + 1)) return 'no';
    }
    return 'no';
  },
};

function isCard(number: string): boolean {
  const issued = issuers.some(
    ({ prefix, lengths }) => lengths.includes(number.length) && prefix.test(number),
  );
  return issued && passesLuhn(number);
}

function passesLuhn(number: string): boolean {
  let sum = 0;
  for (let index = 0; index < number.length; index++) {
    const digit = number.charCodeAt(number.length - 1 - index) - 48;
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
