import type { DetectorName } from './matcher.ts';
import { type FoundSecret, SecretScanner } from './secret-scanner.ts';
import { View } from './view.ts';

/** Digits of base64 and hexadecimal alike. 16 characters make 22 of them, and few words are as long. */
const ENCODED_BLOCK = /(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{22,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}/g;
const LINE = /[A-Za-z0-9+/_-]+=*/g;
const HEX_RUN = /(?<![0-9A-Fa-f])[0-9A-Fa-f]{32,}/g;
const HEX_ONLY = /^[0-9A-Fa-f]{32,}/g;
/** Only in a short run is a secret also looked for where another text came before its encoding. */
const MAX_SHIFTED_CHARS = 1_024;
/** Nearly all that is not text is rejected by this. */
const READABLE = /[ -~\n\r\t]{16}/;
/** Numbers and words of encoded data would be taken for these. */
const NOT_ENCODED: readonly DetectorName[] = ['card', 'email'];

/** The runs of base64 and hexadecimal digits in which a secret is found; each is masked whole. */
export function encodedSecrets(text: string, detectors: readonly DetectorName[]): FoundSecret[] {
  const inner = innerDetectors(detectors);
  const found: FoundSecret[] = [];
  for (const { 0: block, index: from } of text.matchAll(ENCODED_BLOCK)) {
    const hexRuns = block.matchAll(block.length > MAX_SHIFTED_CHARS ? HEX_ONLY : HEX_RUN);
    for (const { 0: run, index } of hexRuns) {
      const name = secretIn(run, { alignments: 2, decode: decodeHex, inner });
      if (name !== undefined)
        found.push({ name, from: from + index, to: from + index + run.length });
    }
    for (const { run, start, end } of base64Runs(block)) {
      const name = secretIn(run, { alignments: 4, decode: decodeBase64, inner });
      if (name !== undefined) found.push({ name, from: from + start, to: from + end });
    }
  }
  return found;
}

/** Lines of one encoded text: a line of a length that does not divide by four is its last. */
function* base64Runs(block: string) {
  let run = '';
  let start = 0;
  for (const { 0: line, index } of block.matchAll(LINE)) {
    if (run === '') start = index;
    run += line;
    const end = index + line.length;
    if (run.length % 4 === 0 && end < block.length) continue;
    yield { run, start, end };
    run = '';
  }
}

interface Decoding {
  /** The offsets at which an encoded text may begin. */
  readonly alignments: number;
  readonly decode: (run: string) => string;
  readonly inner: readonly DetectorName[];
}

function secretIn(run: string, { alignments, decode, inner }: Decoding): DetectorName | undefined {
  const shifts = run.length > MAX_SHIFTED_CHARS ? 1 : alignments;
  for (let shift = 0; shift < shifts; shift++) {
    // A text in UTF-16 has every other byte zero.
    const decoded = decode(run.slice(shift)).replaceAll('\0', '');
    if (!READABLE.test(decoded)) continue;
    const [secret] = new SecretScanner(inner).scan(View.plain().read(decoded), true);
    if (secret !== undefined) return secret.name;
  }
  return undefined;
}

function decodeBase64(run: string): string {
  return Buffer.from(run, 'base64').toString('latin1');
}

function decodeHex(run: string): string {
  return Buffer.from(run, 'hex').toString('latin1');
}

const innerLists = new WeakMap<readonly DetectorName[], readonly DetectorName[]>();

/** One list each, because what a scanner prepares belongs to its list. */
function innerDetectors(detectors: readonly DetectorName[]): readonly DetectorName[] {
  const inner =
    innerLists.get(detectors) ?? detectors.filter((name) => !NOT_ENCODED.includes(name));
  innerLists.set(detectors, inner);
  return inner;
}
