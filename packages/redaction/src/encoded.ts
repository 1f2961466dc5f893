import { charSet, type DetectorName, isIn } from './matcher.ts';
import { type FoundSecret, SecretScanner } from './secret-scanner.ts';
import { fold } from './view.ts';

/** Digits of base64 and hexadecimal alike. 16 characters make 22 of them, and few words are as long. */
const ENCODED = digitsOf('[A-Za-z0-9+/_-]', 22);
const HEX_RUN = digitsOf('[0-9A-Fa-f]', 32);
/** Only in a short run is a secret also looked for where another text came before its encoding. */
const MAX_SHIFTED_DIGITS = 1_024;
/** Nearly all that is not text is rejected by this. */
const MIN_READABLE_CHARS = 16;
/** By byte. A text in UTF-16 has every other byte zero. */
const IN_TEXT = Uint8Array.from({ length: 256 }, (_, byte) => {
  return /[ -~\n\r\t\0]/.test(String.fromCharCode(byte)) ? 1 : 0;
});
/** Numbers and words of encoded data would be taken for these. */
const NOT_ENCODED: readonly DetectorName[] = ['card', 'email'];

interface Digits {
  readonly set: ReturnType<typeof charSet>;
  /** A run of fewer is not looked into. */
  readonly least: number;
  /** Matches many digits, not all: V8's stack bounds what one expression can match. */
  readonly many: RegExp;
}

function digitsOf(pattern: string, least: number): Digits {
  return { set: charSet(new RegExp(pattern)), least, many: new RegExp(`${pattern}{1,4096}`, 'y') };
}

interface Span {
  readonly start: number;
  readonly end: number;
}

interface Run extends Span {
  readonly digits: string;
  readonly encoding: Encoding;
}

interface Encoding {
  readonly name: 'base64' | 'hex';
  /** The offsets at which an encoded text may begin. */
  readonly alignments: number;
  /** Matches in every run without line ends in which a readable text is encoded, whatever its offset. */
  readonly ofText: RegExp;
}

/** Four groups of three bytes below 128: what is readable and as long as is needed contains them. */
const BASE64_OF_TEXT =
  /(?:[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]){4}/;
const BASE64: Encoding = {
  name: 'base64',
  alignments: 4,
  ofText: BASE64_OF_TEXT,
};
const HEX: Encoding = {
  name: 'hex',
  alignments: 2,
  ofText: /(?:[0-7][0-9A-Fa-f]){16}/,
};

/** The runs of base64 and hexadecimal digits in which a secret is found; each is masked whole. */
export function encodedSecrets(text: string, detectors: readonly DetectorName[]): FoundSecret[] {
  const found: FoundSecret[] = [];
  if (text.length < ENCODED.least) return found;
  const inner = innerDetectors(detectors);
  for (const { start: from, end } of blocksOf(text)) {
    const block = text.slice(from, end);
    for (const run of [...hexRuns(block), ...base64Runs(block)]) {
      const name = secretIn(run, inner);
      if (name !== undefined) found.push({ name, from: from + run.start, to: from + run.end });
    }
  }
  return found;
}

/** Digits, further lines of them, and padding. */
function* blocksOf(text: string): Generator<Span> {
  let run = nextRun(text, 0, ENCODED);
  while (run !== undefined) {
    let { end } = run;
    for (let line = nextLine(text, end); line !== end; line = nextLine(text, end)) end = line;
    for (let padding = 0; padding < 2 && text.charAt(end) === '='; padding++) end++;
    yield { start: run.start, end };
    run = nextRun(text, end, ENCODED);
  }
}

/** Where the digits of the line after this one end; `end` when it does not begin with any. */
function nextLine(text: string, end: number): number {
  const feed = text.charAt(end) === '\r' ? end + 1 : end;
  if (text.charAt(feed) !== '\n' || !isIn(ENCODED.set, text, feed + 1)) return end;
  return endOfDigits(text, feed + 1, ENCODED);
}

function endOfDigits(text: string, from: number, { set, least, many }: Digits): number {
  let end = from;
  while (end - from < least && isIn(set, text, end)) end++;
  if (end - from < least) return end;
  many.lastIndex = end;
  while (many.test(text)) end = many.lastIndex;
  return end;
}

/**
 * The next run of at least as many digits as count. It covers one of any so many characters in
 * a row, so most text is never looked at.
 */
function nextRun(text: string, from: number, digits: Digits): Span | undefined {
  const { set, least } = digits;
  let at = from + least - 1;
  while (at < text.length) {
    if (!isIn(set, text, at)) {
      at += least;
      continue;
    }
    let start = at;
    while (start > from && isIn(set, text, start - 1)) start--;
    const end = endOfDigits(text, at, digits);
    if (end - start >= least) return { start, end };
    at = end + least;
  }
  return undefined;
}

function* hexRuns(block: string): Generator<Run> {
  let run = nextRun(block, 0, HEX_RUN);
  for (; run !== undefined; run = nextRun(block, run.end, HEX_RUN)) {
    yield { ...run, digits: block.slice(run.start, run.end), encoding: HEX };
  }
}

/** Lines of one encoded text: a line of a length that does not divide by four is its last. */
function* base64Runs(block: string): Generator<Run> {
  let digits = '';
  let start = 0;
  let end = 0;
  while (end < block.length) {
    let line = end;
    while (line < block.length && !isIn(ENCODED.set, block, line)) line++;
    if (digits === '') start = line;
    end = endOfDigits(block, line, ENCODED);
    while (block.charAt(end) === '=') end++;
    digits += block.slice(line, end);
    if (digits.length % 4 === 0 && end < block.length) continue;
    yield { digits, start, end, encoding: BASE64 };
    digits = '';
  }
}

function secretIn(
  { digits, encoding }: Run,
  inner: readonly DetectorName[],
): DetectorName | undefined {
  if (!encoding.ofText.test(digits)) return undefined;
  const shifts = digits.length > MAX_SHIFTED_DIGITS ? 1 : encoding.alignments;
  for (let shift = 0; shift < shifts; shift++) {
    const bytes = Buffer.from(digits.slice(shift), encoding.name);
    if (!hasReadable(bytes)) continue;
    const [secret] = new SecretScanner(inner).scan(folded(bytes), true);
    if (secret !== undefined) return secret.name;
  }
  return undefined;
}

/** Whether there is a text. It covers one of any so many bytes in a row, so most are not looked at. */
function hasReadable(bytes: Uint8Array): boolean {
  let at = MIN_READABLE_CHARS - 1;
  while (at < bytes.length) {
    let start = at + 1;
    while (start > 0 && IN_TEXT[bytes[start - 1] ?? 0] === 1) start--;
    let chars = 0;
    let end = start;
    for (; start <= at && end < bytes.length && IN_TEXT[bytes[end] ?? 0] === 1; end++) {
      if (bytes[end] !== 0 && ++chars === MIN_READABLE_CHARS) return true;
    }
    at = (start <= at ? end : at) + MIN_READABLE_CHARS;
  }
  return false;
}

const DROPPED = 0;
const FOLDED = Uint8Array.from({ length: 256 }, (_, byte) => {
  return byte === 0 ? DROPPED : fold(String.fromCharCode(byte)).charCodeAt(0) || DROPPED;
});

/** As a detector should read it; in place. */
function folded(bytes: Buffer): string {
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = FOLDED[bytes[at] ?? 0] ?? DROPPED;
    if (byte === DROPPED) continue;
    bytes[length] = byte;
    length++;
  }
  return bytes.toString('latin1', 0, length);
}

const innerLists = new WeakMap<readonly DetectorName[], readonly DetectorName[]>();

/** One list each, because what a scanner prepares belongs to its list. */
function innerDetectors(detectors: readonly DetectorName[]): readonly DetectorName[] {
  const inner =
    innerLists.get(detectors) ?? detectors.filter((name) => !NOT_ENCODED.includes(name));
  innerLists.set(detectors, inner);
  return inner;
}
