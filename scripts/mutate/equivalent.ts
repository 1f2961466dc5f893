import type { Mutation } from './mutations.ts';

interface Equivalent {
  readonly file: string;
  /** The line of the change, without its indentation. */
  readonly line: string;
  /** What is changed in it, into what. */
  readonly change: readonly [before: string, after: string];
  readonly reason: string;
}

/** Changes of the code that change nothing a test could see. */
export const EQUIVALENT: readonly Equivalent[] = [
  {
    file: 'packages/frame/src/frame.ts',
    line: 'const buffer = Buffer.isBuffer(bytes)',
    change: ['Buffer.isBuffer(bytes)', 'false'],
    reason: 'a second view of the same bytes, which only costs time',
  },
  {
    file: 'packages/ledger/src/recover.ts',
    line: 'if (line.start < damaged.start) continue;',
    change: ['<', '<='],
    reason: 'a record never says that it is on disk itself, so the damaged one decides nothing',
  },
  {
    file: 'packages/frame/src/frame.ts',
    line: 'for (let at = LENGTH_START; at < LENGTH_START + 4; at += 1) {',
    change: ['<', '<='],
    reason: 'a shortest length of five bytes belongs to a frame of 256 MiB',
  },
];

export function isEquivalent(file: string, source: string, mutation: Mutation): boolean {
  return EQUIVALENT.some((entry) => matches(entry, file, source, mutation));
}

function matches(entry: Equivalent, file: string, source: string, mutation: Mutation): boolean {
  const { start, end, replacement } = mutation;
  const [before, after] = entry.change;
  if (entry.file !== file || replacement !== after || source.slice(start, end) !== before)
    return false;
  const lineStart = source.lastIndexOf('\n', start - 1) + 1;
  return source.slice(lineStart).split('\n', 1)[0]?.trim() === entry.line;
}
