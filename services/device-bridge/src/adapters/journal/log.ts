import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  read,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { platform } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { ZlError } from '@zerolatency/errors';

/** A head as JSON, and bytes. */
export interface LogRecord {
  readonly head: object;
  readonly parts?: readonly Uint8Array[];
}

export interface ReadRecord {
  readonly head: unknown;
  readonly bytes: Uint8Array;
}

/** The length of what follows the CRC, the CRC-32 of that, the length of the head. */
const PREFIX_BYTES = 12;
const CHECKED_FROM = 8;
/** How much a rewrite writes before others get a turn. */
const SLICE_BYTES = 1024 * 1024;
/** What a rewrite copies while nothing else runs. */
const LAST_COPY_BYTES = 64 * 1024;

const readLater = promisify(read);
const syncLater = promisify(fdatasync);

/**
 * A file of records. A crash may lose any number from the end, and none before. Its beginning is
 * written under another name, synced and renamed, and ends with a mark: damage before the mark is never a crash.
 */
export class RecordLog {
  readonly path: string;
  #fd: number;
  #bytes: number;
  #baseBytes: number;
  #identity: string;

  private constructor(path: string, { fd, bytes }: Draft) {
    this.path = path;
    this.#fd = fd;
    this.#bytes = bytes;
    this.#baseBytes = bytes;
    this.#identity = identityOf(path);
  }

  /** Puts these records in the place of whatever is at `path`. */
  static async create(path: string, records: Iterable<LogRecord>): Promise<RecordLog> {
    const draft = await writeDraft(path, records);
    renameSync(draftOf(path), path);
    syncFolder(dirname(path));
    return new RecordLog(path, draft);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What was appended since the last rewrite. */
  get appendedBytes(): number {
    return this.#bytes - this.#baseBytes;
  }

  /** The file was not deleted, and no other one put in its place. */
  get isInPlace(): boolean {
    return identityOf(this.path) === this.#identity;
  }

  /** In one write. One that fails did nothing. */
  append(records: readonly LogRecord[], durable: boolean): void {
    const parts = records.flatMap(encoded);
    try {
      this.#bytes = writeAll(this.#fd, parts, this.#bytes);
    } catch (error) {
      // A shorter record would be followed by the rest of this one.
      ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    if (durable) fdatasyncSync(this.#fd);
  }

  /** Replaces all records before this call by these; the ones appended meanwhile follow them. */
  async rewrite(records: Iterable<LogRecord>): Promise<void> {
    let copied = this.#bytes;
    const draft = await writeDraft(this.path, records);
    const baseBytes = draft.bytes;
    try {
      while (this.#bytes - copied > LAST_COPY_BYTES) copied = await this.#copy(draft, copied);
      const rest = Buffer.alloc(this.#bytes - copied);
      readSync(this.#fd, rest, 0, rest.length, copied);
      draft.bytes = writeAll(draft.fd, [rest], draft.bytes);
      fdatasyncSync(draft.fd);
      if (!this.isInPlace) throw replaced(this.path);
      renameSync(draftOf(this.path), this.path);
      syncFolder(dirname(this.path));
    } catch (error) {
      discard(this.path, draft);
      throw error;
    }
    closeSync(this.#fd);
    this.#fd = draft.fd;
    this.#bytes = draft.bytes;
    this.#baseBytes = baseBytes;
    this.#identity = identityOf(this.path);
  }

  close(): void {
    closeSync(this.#fd);
  }

  async #copy(draft: Draft, from: number): Promise<number> {
    const bytes = Math.min(SLICE_BYTES, this.#bytes - from);
    const { buffer } = await readLater(this.#fd, Buffer.alloc(bytes), 0, bytes, from);
    draft.bytes = writeAll(draft.fd, [buffer], draft.bytes);
    return from + bytes;
  }
}

interface Draft {
  readonly fd: number;
  bytes: number;
}

const draftOf = (path: string) => `${path}.next`;

/** Ends the records with which a file begins. */
const BASE_END: LogRecord = { head: { op: 'base' } };

/** Written and synced, and not yet in its place. */
async function writeDraft(path: string, records: Iterable<LogRecord>): Promise<Draft> {
  rmSync(draftOf(path), { force: true });
  // It holds arguments and results. A link is not followed.
  const draft = { fd: openSync(draftOf(path), 'wx+', 0o600), bytes: 0 };
  try {
    let slice: Uint8Array[] = [];
    let sliceBytes = 0;
    const flush = () => {
      draft.bytes = writeAll(draft.fd, slice, draft.bytes);
      slice = [];
      sliceBytes = 0;
    };
    for (const record of records) {
      const parts = encoded(record);
      slice.push(...parts);
      sliceBytes += byteLength(parts);
      if (sliceBytes < SLICE_BYTES) continue;
      flush();
      await new Promise((resolve) => setImmediate(resolve));
    }
    slice.push(...encoded(BASE_END));
    flush();
    await syncLater(draft.fd);
    return draft;
  } catch (error) {
    discard(path, draft);
    throw error;
  }
}

function discard(path: string, { fd }: Draft): void {
  closeSync(fd);
  rmSync(draftOf(path), { force: true });
}

/** Returns where the next write begins. */
function writeAll(fd: number, parts: readonly Uint8Array[], position: number): number {
  const bytes = byteLength(parts);
  const written = writevSync(fd, parts, position);
  if (written === bytes) return position + bytes;
  // Cut short, as by a disk that has just become full: the next write reports why.
  const whole = Buffer.concat(parts);
  for (let done = written; done < bytes; ) {
    done += writeSync(fd, whole, done, bytes - done, position + done);
  }
  return position + bytes;
}

function encoded({ head, parts = [] }: LogRecord): Uint8Array[] {
  const text = Buffer.from(JSON.stringify(head));
  const bytes = byteLength(parts);
  const start = Buffer.allocUnsafe(PREFIX_BYTES + text.length);
  text.copy(start, PREFIX_BYTES);
  start.writeUInt32LE(start.length - CHECKED_FROM + bytes, 0);
  start.writeUInt32LE(text.length, CHECKED_FROM);
  let sum = crc32(start.subarray(CHECKED_FROM));
  for (const part of parts) sum = crc32(part, sum);
  start.writeUInt32LE(sum, 4);
  return [start, ...parts];
}

function byteLength(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}

/**
 * Yields records up to the first that is not whole, because what follows one was never written for sure. The bytes
 * are views. Returns how many bytes follow the last whole record.
 */
export function* recordsIn(content: Buffer): Generator<ReadRecord, number> {
  let position = 0;
  for (;;) {
    const record = recordAt(content, position);
    if (record === undefined) return content.length - position;
    position = record.end;
    yield record;
  }
}

function recordAt(content: Buffer, position: number): (ReadRecord & { end: number }) | undefined {
  if (position + PREFIX_BYTES > content.length) return undefined;
  const end = position + CHECKED_FROM + content.readUInt32LE(position);
  const headFrom = position + PREFIX_BYTES;
  const headEnd = headFrom + content.readUInt32LE(position + CHECKED_FROM);
  if (end > content.length || headEnd > end) return undefined;
  const sum = crc32(content.subarray(position + CHECKED_FROM, end));
  if (sum !== content.readUInt32LE(position + 4)) return undefined;
  const head: unknown = JSON.parse(content.toString('utf8', headFrom, headEnd));
  return { head, bytes: content.subarray(headEnd, end), end };
}

/** A file's name survives a crash of the machine only after this. */
export function syncFolder(path: string): void {
  // Windows cannot open a folder, and its renames are durable without that.
  if (platform() === 'win32') return;
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function replaced(path: string): ZlError {
  return new ZlError('journal.corrupt', `${path} was deleted or replaced while the bridge ran`);
}

const OUT_OF_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** The write did nothing, and may succeed when there is space. A failed sync is different. */
export function isOutOfRoom(reason: unknown): reason is NodeJS.ErrnoException {
  if (!(reason instanceof Error && 'code' in reason && typeof reason.code === 'string'))
    return false;
  return OUT_OF_ROOM.has(reason.code) && !('syscall' in reason && reason.syscall === 'fdatasync');
}

function identityOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? 'none' : `${found.dev}:${found.ino}`;
}
