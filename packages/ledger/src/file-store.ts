import { randomBytes } from 'node:crypto';
import { open, readFile, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { readIfThere, syncDirectory, writeAtomically } from '@zerolatency/service/files';
import { acquireLock } from '@zerolatency/service/processes';
import { bundleFile, keepBundle } from './bundles.ts';
import { CHECKPOINT_FILE } from './checkpoint.ts';
import { floorText, readFloor } from './floor.ts';
import { listSegments, readLines, type Segment } from './segments.ts';
import type { LedgerFloor, LedgerSource, LedgerStore, StoredRecord, WriterLock } from './store.ts';

/** The part of a file handle that a segment needs. */
export interface SegmentFile {
  appendFile(bytes: Uint8Array): Promise<void>;
  truncate(bytes: number): Promise<void>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

/** All that changes files. */
export interface LedgerDisk {
  /** For appending; makes the file when there is none. */
  open(path: string): Promise<SegmentFile>;
  remove(path: string): Promise<void>;
  /** Names that came and went survive a crash of the machine only after this. */
  syncFolder(dir: string): Promise<void>;
  /** A small file, whole or not at all. */
  replace(path: string, text: string, fsync: boolean): Promise<void>;
}

export const realDisk: LedgerDisk = {
  open: (path) => open(path, 'a', 0o600),
  remove: (path) => rm(path),
  syncFolder: syncDirectory,
  replace: writeAtomically,
};

function fileSource(dir: string): LedgerSource {
  return {
    name: dir,
    segments: () => listSegments(dir),
    lines: ({ name }) => readLines(join(dir, name)),
    checkpoint: () => readIfThere(join(dir, CHECKPOINT_FILE)),
    bundle: async (digest) =>
      readFile(bundleFile(dir, digest)).catch((reason: NodeJS.ErrnoException) => {
        if (reason.code === 'ENOENT') return undefined;
        throw reason;
      }),
  };
}

/** A folder, or any other place. */
export function sourceOf(ledger: string | LedgerSource): LedgerSource {
  return typeof ledger === 'string' ? fileSource(ledger) : ledger;
}

/** On a disk with less the first record would fit, and that of the first call not. */
const MIN_FREE_BYTES = 256 * 1024;

export interface FileStoreOptions {
  readonly dir: string;
  /** False is for tests that crash nothing; acknowledged means on disk otherwise. */
  readonly fsync?: boolean;
  /**
   * Remembers the newest checkpoint, so that a ledger that was cut, replaced or removed is not
   * continued. Outside `dir`; without it nothing is remembered.
   */
  readonly floorFile?: string | undefined;
  readonly disk?: LedgerDisk;
}

interface FileStoreDeps {
  readonly onSynced?: ((seconds: number) => void) | undefined;
}

/** A folder with one file for each segment, and a lock. */
export function fileStore(
  options: FileStoreOptions,
  { onSynced }: FileStoreDeps = {},
): LedgerStore {
  const { dir, fsync = true, disk = realDisk, floorFile } = options;
  const files = new SegmentFiles({ dir, fsync, disk, onSynced });
  return {
    ...fileSource(dir),
    isDurable: fsync,
    newLedgerId: () => randomBytes(16).toString('hex'),
    lock: async (): Promise<WriterLock> => acquireLock(join(dir, 'lock'), heldBy),
    resume: (last) => files.resume(last),
    append: (batch) => files.append(batch),
    cut: (from) => files.cut(from),
    replaceCheckpoint: (note) => disk.replace(join(dir, CHECKPOINT_FILE), note, fsync),
    keepBundle: (digest, text) => keepBundle(dir, digest, text),
    floor: floorFile === undefined ? undefined : floorIn(floorFile, { disk, fsync }),
    assertRoom: () => assertRoom(dir),
    close: () => files.close(),
  };
}

function floorIn(
  path: string,
  { disk, fsync }: { readonly disk: LedgerDisk; readonly fsync: boolean },
): LedgerFloor {
  return {
    name: path,
    read: () => readFloor(path),
    raise: (floor) => disk.replace(path, floorText(floor), fsync),
  };
}

interface SegmentFilesOptions extends FileStoreDeps {
  readonly dir: string;
  readonly fsync: boolean;
  readonly disk: LedgerDisk;
}

class SegmentFiles {
  readonly #options: SegmentFilesOptions;
  #file: SegmentFile | undefined;

  constructor(options: SegmentFilesOptions) {
    this.#options = options;
  }

  async resume({ name }: Segment): Promise<void> {
    const { dir, fsync, disk } = this.#options;
    this.#file = await disk.open(join(dir, name));
    if (!fsync) return;
    // The next checkpoint must not cover records that are only in the page cache, and neither what
    // recovery cut off nor a segment that an earlier process removed may come back.
    await this.#file.datasync();
    await disk.syncFolder(dir);
  }

  async append(batch: readonly StoredRecord[]): Promise<void> {
    let from = 0;
    for (const [i, { segment }] of batch.entries()) {
      if (segment === undefined) continue;
      await this.#write(batch.slice(from, i));
      await this.#begin(segment);
      from = i;
    }
    await this.#write(batch.slice(from));
  }

  async cut({ segment, start }: { readonly segment: Segment; readonly start: number }) {
    const { dir, disk } = this.#options;
    const all = await listSegments(dir);
    const path = join(dir, segment.name);
    const size = (await stat(path).catch(() => undefined))?.size ?? 0;
    const removed = all.filter(
      ({ firstIndex }) => firstIndex >= segment.firstIndex + (start === 0 ? 0 : 1),
    );
    for (const { name } of removed) await disk.remove(join(dir, name));
    if (removed.length > 0) await disk.syncFolder(dir);
    if (start === 0) return size;
    const file = await disk.open(path);
    try {
      await file.truncate(start);
    } finally {
      await file.close();
    }
    return size - start;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #write(records: readonly StoredRecord[]): Promise<void> {
    const [first] = records;
    if (first === undefined) return;
    const lines = records.map(({ line }) => line);
    await this.#file?.appendFile(lines.length === 1 ? first.line : Buffer.concat(lines));
    if (!this.#options.fsync) return;
    const startedMs = performance.now();
    await this.#file?.datasync();
    this.#options.onSynced?.((performance.now() - startedMs) / 1000);
  }

  async #begin({ name }: Segment): Promise<void> {
    const { dir, fsync, disk } = this.#options;
    await this.close();
    this.#file = await disk.open(join(dir, name));
    if (fsync) await disk.syncFolder(dir);
  }
}

async function assertRoom(dir: string): Promise<void> {
  const { bavail, bsize } = await statfs(dir).catch((cause: Error) => {
    throw new ZlError('ledger.failed', `its folder cannot be read: ${cause.message}`, { cause });
  });
  if (bavail * bsize >= MIN_FREE_BYTES) return;
  throw new ZlError(
    'ledger.failed',
    `the disk of ${dir} has ${bavail * bsize} bytes left, and ${MIN_FREE_BYTES} are needed to go on`,
  );
}

function heldBy(pid: number | undefined): ZlError {
  const who = pid === undefined ? 'another process' : `process ${pid}`;
  return new ZlError('ledger.failed', `${who} holds the ledger`);
}
