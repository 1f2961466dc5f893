import { readSync } from 'node:fs';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { Located } from './locate.ts';
import { openWithin, type Place, type Roots } from './roots.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
export const ENCODINGS = ['auto', 'text', 'base64'] as const;

export interface ReadArguments {
  readonly path: string;
  readonly offset: number;
  /** To the end of the file when undefined. */
  readonly length: number | undefined;
  readonly encoding: (typeof ENCODINGS)[number];
}

/** As contracts/tools/fs.read/v1/result.schema.json defines it. */
export interface ReadResult {
  readonly path: string;
  readonly size: number;
  readonly offset: number;
  readonly length: number;
  readonly encoding: 'text' | 'base64';
  readonly content: string;
  readonly truncated: boolean;
}

type Read =
  | { readonly result: ReadResult; readonly place: Place; readonly error?: undefined }
  | { readonly error: ZlError; readonly place?: Place; readonly result?: undefined };

/**
 * Reads a range of a file, at most maxBytes of it. Synchronous on purpose: four
 * trips through the thread pool take ten times as long as the reads.
 */
export function readFileRange(roots: Roots, args: ReadArguments, maxBytes: number): Read {
  const opened = openWithin(roots, args.path);
  if ('error' in opened) return opened;
  const { file, place } = opened;
  try {
    return { result: { path: place.path, ...readRange(file, args, maxBytes) }, place };
  } catch (reason) {
    return { error: fromUnknown(reason), place };
  } finally {
    file.close();
  }
}

function readRange(file: Located, args: ReadArguments, maxBytes: number) {
  const { offset } = args;
  const available = Math.min(args.length ?? Number.POSITIVE_INFINITY, file.size - offset);
  const wanted = Math.max(0, Math.min(available, maxBytes));
  const bytes = readOrThrow(file, args, wanted);
  // A file that was shortened after its size was read ends where the bytes end.
  const hasShrunk = bytes.length < wanted;
  const size = hasShrunk ? Math.min(file.size, offset + bytes.length) : file.size;
  const { length, encoding, content } = encode(bytes, args, offset + bytes.length < size);
  const truncated = !hasShrunk && length < available;
  return { size, offset, length, encoding, content, truncated };
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
    // A NUL is valid UTF-8 but marks a binary file; as JSON text it would take six bytes.
    if (content !== undefined && (encoding === 'text' || !bytes.includes(0))) {
      return { length, encoding: 'text' as const, content };
    }
    if (encoding === 'text') {
      throw new ZlError('fs.not_text', `${path} is not UTF-8 text in the range asked for`);
    }
  }
  return { length: bytes.length, encoding: 'base64' as const, content: bytes.toString('base64') };
}

/** Undefined unless all bytes are UTF-8. */
function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The length without a character that the end cuts in two. */
function wholeCharacters(bytes: Uint8Array): number {
  const length = bytes.length;
  for (let back = 1; back <= Math.min(3, length); back++) {
    const byte = bytes[length - back] ?? 0;
    const isContinuation = (byte & 0b1100_0000) === 0b1000_0000;
    if (isContinuation) continue;
    return back < sequenceLength(byte) ? length - back : length;
  }
  return length;
}

function sequenceLength(first: number): number {
  if (first >= 0b1111_0000) return 4;
  if (first >= 0b1110_0000) return 3;
  return first >= 0b1100_0000 ? 2 : 1;
}
