import { charSet, DIGITS, isIn, type Matcher, undecided } from '../matcher.ts';
import { swallowRun } from '../swallow.ts';

const MIN_DIGITS = 14;
const MAX_DIGITS = 19;

const NUMBER = new RegExp(`\\b[2-6](?:[ -]?[0-9]){${MIN_DIGITS - 1}}`, 'g');

/** Issuer prefixes and their lengths; without them one number in ten passes Luhn. */
const ISSUERS: readonly { prefix: RegExp; lengths: readonly number[] }[] = [
  { prefix: /^4/, lengths: [16, 19] },
  { prefix: /^(?:5[1-5]|2[2-7])/, lengths: [16] },
  { prefix: /^3[47]/, lengths: [15] },
  { prefix: /^3[068]/, lengths: [14, 16] },
  { prefix: /^35/, lengths: [16] },
  { prefix: /^6/, lengths: [16, 19] },
];

/** Part of a decimal fraction or an identifier is not a card number. */
const BEFORE = charSet(/[A-Za-z0-9_.]/);
const SEPARATORS = charSet(/[ -]/);

export const CARD: Matcher = {
  name: 'card',
  starts: '23456',
  begins(text, from) {
    NUMBER.lastIndex = from;
    return NUMBER.exec(text)?.index ?? text.length;
  },
  match(text, at, final) {
    if (isIn(BEFORE, text, at - 1)) return 'no';
    let digits = 0;
    for (let index = at; digits <= MAX_DIGITS; index++) {
      if (isIn(DIGITS, text, index)) {
        digits++;
        continue;
      }
      if (index >= text.length && !final) return 'more';
      if (digits >= MIN_DIGITS && isCard(text.slice(at, index))) return { keep: 0, end: index };
      // One separator between groups; the digit after it may not have come yet.
      if (!isIn(SEPARATORS, text, index)) return 'no';
      if (index + 1 >= text.length) return undecided(final);
      if (!isIn(DIGITS, text, index + 1)) return 'no';
    }
    return 'no';
  },
};

function isCard(written: string): boolean {
  const number = written.replaceAll(/[ -]/g, '');
  const issued = ISSUERS.some(
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

/** RFC 5321. */
const MAX_LOCAL_CHARS = 64;
const MAX_DOMAIN_CHARS = 253;

const LOCAL_CHARS = charSet(/[A-Za-z0-9._%+-]/);
const LABEL_CHARS = charSet(/[A-Za-z0-9-]/);
const LETTERS = charSet(/[A-Za-z]/);
const DOMAIN_SWALLOW = swallowRun(LABEL_CHARS, charSet(/[.]/));

export const EMAIL: Matcher = {
  name: 'email',
  starts: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-',
  begins(text, from) {
    const sign = text.indexOf('@', from);
    if (sign === -1) return text.length;
    const earliest = Math.max(from, sign - MAX_LOCAL_CHARS);
    let start = sign;
    while (start > earliest && isIn(LOCAL_CHARS, text, start - 1)) start--;
    return start;
  },
  match(text, at, final) {
    if (isIn(LOCAL_CHARS, text, at - 1)) return 'no';
    let sign = at;
    while (sign - at <= MAX_LOCAL_CHARS && isIn(LOCAL_CHARS, text, sign)) sign++;
    if (sign - at > MAX_LOCAL_CHARS) return 'no';
    if (sign >= text.length) return undecided(final);
    if (text.charAt(sign) !== '@') return 'no';
    for (let index = sign + 1; index - sign <= MAX_DOMAIN_CHARS; index++) {
      if (index >= text.length) return undecided(final);
      // A dot and two letters make a domain; what follows is swallowed.
      const certain =
        index > sign + 3 &&
        text.charAt(index - 2) === '.' &&
        isIn(LETTERS, text, index - 1) &&
        isIn(LETTERS, text, index);
      if (certain) return { keep: 0, end: index + 1, swallow: DOMAIN_SWALLOW };
      const dot = text.charAt(index) === '.' && isIn(LABEL_CHARS, text, index - 1);
      if (!dot && !isIn(LABEL_CHARS, text, index)) return 'no';
    }
    return 'no';
  },
};
