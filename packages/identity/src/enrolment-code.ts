import { createHash, randomBytes } from 'node:crypto';

/** Crockford's: without I, L, O and U, which people misread. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** 90 bits, so that nobody guesses one within its lifetime. */
const SECRET_CHARS = 18;
/** One mistyped code in 1,024 passes. */
const CHECK_CHARS = 2;
const GROUP_CHARS = 5;
/** With a separator after every character. */
const MAX_TYPED_CHARS = 2 * (SECRET_CHARS + CHECK_CHARS);
const MISREAD: Readonly<Record<string, string>> = { O: '0', I: '1', L: '1' };

type ParsedCode =
  | { readonly value: string; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** A random one-time code, in groups that a person can type. */
export function createEnrolmentCode(): string {
  const secret = [...randomBytes(SECRET_CHARS)].map(symbol).join('');
  const code = secret + checkOf(secret);
  return code.match(new RegExp(`.{${GROUP_CHARS}}`, 'g'))?.join('-') ?? code;
}

/** Its characters in upper case, whatever case, dashes and spaces they were typed with. */
export function parseEnrolmentCode(typed: string): ParsedCode {
  const characters = typed
    .slice(0, MAX_TYPED_CHARS + 1)
    .toUpperCase()
    .replaceAll(/[\s-]/g, '');
  const code = characters.replaceAll(/[OIL]/g, (letter) => MISREAD[letter] ?? letter);
  const length = SECRET_CHARS + CHECK_CHARS;
  if (code.length !== length) return { error: `a code has ${length} characters` };
  const strange = [...code].find((character) => !ALPHABET.includes(character));
  if (strange !== undefined) return { error: `a code never has the character "${strange}"` };
  const secret = code.slice(0, SECRET_CHARS);
  if (code !== secret + checkOf(secret)) return { error: 'a character of the code is mistyped' };
  return { value: code };
}

/** What is kept of a code, and what a proof names. */
export function enrolmentCodeHash(code: string): string {
  return createHash('sha256').update(code).digest('base64url');
}

function checkOf(secret: string): string {
  const digest = createHash('sha256').update(`check ${secret}`).digest();
  return [...digest.subarray(0, CHECK_CHARS)].map(symbol).join('');
}

/** 256 is a multiple of 32, so every symbol is as likely. */
function symbol(byte: number): string {
  return ALPHABET.charAt(byte % ALPHABET.length);
}
