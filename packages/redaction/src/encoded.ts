import type { DetectorName } from './matcher.ts';
import { type FoundSecret, SecretScanner } from './secret-scanner.ts';
import { View } from './view.ts';

/** Digits of base64 and hexadecimal alike. 16 characters make 22 of them, and few words are as long. */
const ENCODED_BLOCK = /(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{22,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}/g;
const LINE = /[A-Za-z0-9+/_-]+=*/g;
const HEX_RUN = /(?<![0-9A-Fa-f])[0-9A-Fa-f]{32,}/g;
/** Only in a short run is a secret also looked for where another text came before its encoding. */
const MAX_SHIFTED_DIGITS = 1_024;
/** Nearly all that is not text is rejected by this. */
const READABLE = /[ -~\n\r\t]{16}/;
/** Numbers and words of encoded data would be taken for these. */
const NOT_ENCODED: readonly DetectorName[] = ['card', 'email'];

interface Run {
  readonly digits: string;
  /** Where it stands in its block. */
  readonly start: number;
  readonly end: number;
  readonly encoding: Encoding;
}

interface Encoding {
  /** The offsets at which an encoded text may begin. */
  readonly alignments: number;
  readonly decode: (digits: string) => string;
}

const BASE64: Encoding = {
  alignments: 4,
  decode: (digits) => Buffer.from(digits, 'base64').toString('latin1'),
};
const HEX: Encoding = {
  alignments: 2,
  decode: (digits) => Buffer.from(digits, 'hex').toString('latin1'),
};

/** The runs of base64 and hexadecimal digits in which a secret is found; each is masked whole. */
export function encodedSecrets(text: string, detectors: readonly DetectorName[]): FoundSecret[] {
  const inner = innerDetectors(detectors);
  const found: FoundSecret[] = [];
  for (const { 0: block, index } of text.matchAll(ENCODED_BLOCK)) {
    for (const run of [...hexRuns(block), ...base64Runs(block)]) {
      const name = secretIn(run, inner);
      if (name !== undefined) found.push({ name, from: index + run.start, to: index + run.end });
    }
  }
  return found;
}

function* hexRuns(block: string): Generator<Run> {
  for (const { 0: digits, index: start } of block.matchAll(HEX_RUN)) {
    yield { digits, start, end: start + digits.length, encoding: HEX };
  }
}

/** Lines of one encoded text: a line of a length that does not divide by four is its last. */
function* base64Runs(block: string): Generator<Run> {
  let digits = '';
  let start = 0;
  for (const { 0: line, index } of block.matchAll(LINE)) {
    if (digits === '') start = index;
    digits += line;
    const end = index + line.length;
    if (digits.length % 4 === 0 && end < block.length) continue;
    yield { digits, start, end, encoding: BASE64 };
    digits = '';
  }
}

function secretIn(
  { digits, encoding }: Run,
  inner: readonly DetectorName[],
): DetectorName | undefined {
  const shifts = digits.length > MAX_SHIFTED_DIGITS ? 1 : encoding.alignments;
  for (let shift = 0; shift < shifts; shift++) {
    // A text in UTF-16 has every other byte zero.
    const decoded = encoding.decode(digits.slice(shift)).replaceAll('\0', '');
    if (!READABLE.test(decoded)) continue;
    const [secret] = new SecretScanner(inner).scan(View.plain().read(decoded), true);
    if (secret !== undefined) return secret.name;
  }
  return undefined;
}

const innerLists = new WeakMap<readonly DetectorName[], readonly DetectorName[]>();

/** One list each, because what a scanner prepares belongs to its list. */
function innerDetectors(detectors: readonly DetectorName[]): readonly DetectorName[] {
  const inner =
    innerLists.get(detectors) ?? detectors.filter((name) => !NOT_ENCODED.includes(name));
  innerLists.set(detectors, inner);
  return inner;
}
