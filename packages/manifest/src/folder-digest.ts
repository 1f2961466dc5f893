import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { canonicalJson } from '@zerolatency/signing';

/** Above a large application with its dependencies; a folder beyond it is pinned by mistake. */
const MAX_FILES = 50_000;
const MAX_BYTES = 2 ** 30;
const CHUNK_BYTES = 1024 * 1024;

interface FolderFile {
  readonly path: string;
  readonly isExecutable: boolean;
  readonly sha256: string;
}

/** Opening a FIFO would otherwise wait for its writer. */
const READ_AT_ONCE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** SHA-256 in hexadecimal. Reads a stream: an interpreter has a hundred megabytes. */
export async function fileDigest(path: string): Promise<string> {
  const file = await open(path, READ_AT_ONCE);
  try {
    if (!(await file.stat()).isFile()) {
      throw new ZlError('manifest.invalid', `${path} is not a regular file`);
    }
    const content = await sha256Of(readerOf(file), Number.POSITIVE_INFINITY);
    return content?.sha256 ?? '';
  } finally {
    await file.close();
  }
}

/**
 * SHA-256, in hexadecimal, of the canonical JSON of a folder's files in the order of
 * their relative paths: path, whether the owner may execute it, SHA-256 of its content.
 * Links and special files are refused, because what they lead to is not pinned.
 */
export async function folderDigest(root: string, maxBytes = MAX_BYTES): Promise<string> {
  const paths = await listFiles(root);
  const files: FolderFile[] = [];
  let bytes = 0;
  for (const path of paths.sort()) {
    const file = await open(join(root, path), READ_AT_ONCE | (constants.O_NOFOLLOW ?? 0));
    try {
      const stats = await file.stat();
      // It was one when the folder was listed.
      if (!stats.isFile()) throw unfit(root, `${JSON.stringify(path)} is not a regular file`);
      const content = await sha256Of(readerOf(file), maxBytes - bytes);
      if (content === undefined) throw unfit(root, `it holds more than ${maxBytes} bytes`);
      bytes += content.bytes;
      files.push({ path, isExecutable: (stats.mode & 0o100) !== 0, sha256: content.sha256 });
    } finally {
      await file.close();
    }
  }
  return createHash('sha256').update(canonicalJson({ files })).digest('hex');
}

/** Relative paths with `/` between their parts, in no particular order. */
async function listFiles(root: string): Promise<string[]> {
  const files: string[] = [];
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) files.push(path);
      else throw unfit(root, `${JSON.stringify(path)} is a link or a special file`);
      if (files.length + folders.length > MAX_FILES) {
        throw unfit(root, `it holds more than ${MAX_FILES} files`);
      }
    }
  }
  return files;
}

const readerOf = (file: FileHandle) =>
  file.createReadStream({ autoClose: false, highWaterMark: CHUNK_BYTES });

/** Undefined above the bound. The bytes are counted as read, since a file may grow meanwhile. */
async function sha256Of(chunks: AsyncIterable<Buffer>, maxBytes: number) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) return undefined;
    hash.update(chunk);
  }
  return { sha256: hash.digest('hex'), bytes };
}

function unfit(root: string, why: string): ZlError {
  return new ZlError('manifest.invalid', `the folder ${root} cannot be pinned: ${why}`);
}
