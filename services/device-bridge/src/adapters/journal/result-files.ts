import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { ZlError } from '@zerolatency/errors';
import { syncFolder } from './log.ts';

/** What the journal remembers of a result's file. */
export interface KeptFile {
  readonly bytes: number;
  readonly crc32: number;
}

/** Large results, each in a file of its own, so that keeping and dropping one costs one write. */
export class ResultFiles {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Makes the folder and removes what no entry names: files of calls that a crash interrupted. */
  prepare(callIds: Iterable<string>): void {
    if (!existsSync(this.#dir)) mkdirSync(this.#dir, { mode: 0o700 });
    if (!lstatSync(this.#dir).isDirectory()) {
      throw new ZlError('config.invalid', `${this.#dir} must be a folder, and not a link to one`);
    }
    const names = new Set(Array.from(callIds, nameOf));
    for (const name of readdirSync(this.#dir)) {
      if (!names.has(name)) rmSync(join(this.#dir, name), { recursive: true, force: true });
    }
  }

  /** One that fails leaves no file. */
  write(callId: string, result: Uint8Array, durable: boolean): KeptFile {
    const path = this.#pathOf(callId);
    rmSync(path, { force: true });
    // Fails where a link has been put in its place.
    const fd = openSync(path, 'wx', 0o600);
    try {
      for (let done = 0; done < result.length; ) {
        done += writeSync(fd, result, done, result.length - done, done);
      }
      if (durable) fsyncSync(fd);
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
    if (durable) syncFolder(this.#dir);
    return { bytes: result.length, crc32: crc32(result) };
  }

  /** Undefined when it is not what was written, as after a power cut without a sync. */
  read(callId: string, { bytes, crc32: sum }: KeptFile): Uint8Array | undefined {
    const fd = openExisting(this.#pathOf(callId));
    if (fd === undefined) return undefined;
    try {
      if (fstatSync(fd).size !== bytes) return undefined;
      const result = Buffer.allocUnsafeSlow(bytes);
      let done = 0;
      for (let got = -1; got !== 0 && done < bytes; done += got) {
        got = readSync(fd, result, done, bytes - done, done);
      }
      return done === bytes && crc32(result) === sum ? result : undefined;
    } finally {
      closeSync(fd);
    }
  }

  remove(callId: string): void {
    rmSync(this.#pathOf(callId), { force: true });
  }

  #pathOf(callId: string): string {
    return join(this.#dir, nameOf(callId));
  }
}

function nameOf(callId: string): string {
  return `${encodeURIComponent(callId)}.result`;
}

function openExisting(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (reason) {
    const code = reason instanceof Error && 'code' in reason ? reason.code : undefined;
    if (code === 'ENOENT' || code === 'ELOOP') return undefined;
    throw reason;
  }
}
