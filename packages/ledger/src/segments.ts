import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** A part of a ledger: one file, where ledgers are files. */
export interface Segment {
  readonly name: string;
  /** The index of its first record. */
  readonly firstIndex: number;
}

export interface LocatedSegment extends Segment {
  readonly path: string;
}

export interface Line {
  /** Without its line feed. */
  readonly bytes: Uint8Array;
  /** Where it begins in the file. */
  readonly start: number;
  /** False only for bytes after the last line feed. */
  readonly isWhole: boolean;
  /** Counted from 1. */
  readonly number: number;
}

/** No record is longer; the open intents of a segment's first record take at most half of it. */
const MAX_LINE_BYTES = 32 * 1024 * 1024;

const NAME = /^segment-(\d{16})\.jsonl$/;

export function segmentFrom(firstIndex: number): Segment {
  return { name: `segment-${String(firstIndex).padStart(16, '0')}.jsonl`, firstIndex };
}

export function segmentAt(dir: string, firstIndex: number): LocatedSegment {
  const segment = segmentFrom(firstIndex);
  return { ...segment, path: join(dir, segment.name) };
}

/** In order; empty when the folder holds no ledger. */
export async function listSegments(dir: string): Promise<LocatedSegment[]> {
  const names = await readdir(dir).catch((reason: NodeJS.ErrnoException) => {
    if (reason.code === 'ENOENT') return [];
    throw reason;
  });
  const found = names.map((name) => NAME.exec(name)).filter((match) => match !== null);
  return found
    .map((match) => segmentAt(dir, Number(match[1])))
    .sort((a, b) => a.firstIndex - b.firstIndex);
}

export async function* readLines(path: string): AsyncGenerator<Line> {
  let rest: Buffer = Buffer.alloc(0);
  let start = 0;
  let number = 1;
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let to = bytes.indexOf(10); to >= 0; to = bytes.indexOf(10, from)) {
      yield { bytes: bytes.subarray(from, to), start, isWhole: true, number };
      start += to + 1 - from;
      number++;
      from = to + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > MAX_LINE_BYTES) break;
  }
  if (rest.length > 0) yield { bytes: rest, start, isWhole: false, number };
}
