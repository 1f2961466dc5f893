import { readSync } from 'node:fs';
import { ZlError } from '@zerolatency/errors';
import type { Located } from './locate.ts';
import { openWithin } from './open-within.ts';
import type { ReadArguments } from './read-arguments.ts';
import type { Roots } from './roots.ts';
import { decodeText, wholeCharacters } from './text.ts';

/** As contracts/tools/fs.read/v1/result.schema.json has it. */
export interface ReadResult {
  readonly path: string;
  readonly size: number;
  readonly offset: number;
  readonly length: number;
  readonly encoding: 'text' | 'base64';
  readonly content: string;
  readonly truncated: boolean;
}

/**
 * Reads a range of a file, at most maxBytes of it. Synchronous on purpose: four
 * trips through the thread pool take ten times as long as the reads themselves.
 */
export function readFileRange(roots: Roots, args: ReadArguments, maxBytes: number): ReadResult {
  const file = openWithin(roots, args.path);
  try {
    const { size } = file.stats;
    const asked = Math.min(
      args.length ?? Number.POSITIVE_INFINITY,
      Math.max(0, size - args.offset),
    );
    const bytes = readOrThrow(file, args, Math.min(asked, maxBytes));
    const { length, encoding, content } = encode(bytes, args, args.offset + bytes.length < size);
    const range = { offset: args.offset, length, encoding, content };
    return { path: file.realPath, size, ...range, truncated: length < asked };
  } finally {
    file.close();
  }
}

function readOrThrow(file: Located, { path, offset }: ReadArguments, length: number): Buffer {
  try {
    return readBytes(file, offset, length);
  } catch (cause) {
    throw new ZlError('fs.not_found', `${path} cannot be read`, { cause });
  }
}

function readBytes(file: Located, offset: number, length: number): Buffer {
  if (length === 0) return Buffer.alloc(0);
  const buffer = Buffer.allocUnsafe(length);
  const descriptor = file.open();
  let filled = 0;
  while (filled < length) {
    const read = readSync(descriptor, buffer, filled, length - filled, offset + filled);
    // The file has become shorter since its size was taken.
    if (read === 0) break;
    filled += read;
  }
  return buffer.subarray(0, filled);
}

function encode(bytes: Buffer, { path, encoding }: ReadArguments, hasMore: boolean) {
  if (encoding !== 'base64') {
    const length = hasMore ? wholeCharacters(bytes) : bytes.length;
    const isEmpty = length === 0 && bytes.length > 0;
    const content = isEmpty ? undefined : decodeText(bytes.subarray(0, length));
    // A NUL is valid UTF-8 and yet the mark of a binary file; as JSON text it would take six bytes.
    if (content !== undefined && (encoding === 'text' || !bytes.includes(0))) {
      return { length, encoding: 'text' as const, content };
    }
    if (encoding === 'text') {
      throw new ZlError('fs.not_text', `${path} is not UTF-8 text in the range asked for`);
    }
  }
  return { length: bytes.length, encoding: 'base64' as const, content: bytes.toString('base64') };
}
