import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { makeFolder } from '@zerolatency/service/files';

/** Readable only by its owner. */
export async function writePrivate(path: string, content: string): Promise<void> {
  await replaceFile(path, content, 0o600);
}

export async function writePublic(path: string, content: string): Promise<void> {
  await replaceFile(path, content, 0o644);
}

/** Atomic, because running services watch some of these files. */
async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  await expectFile(path);
  await makeFolder(dirname(path));
  const next = `${path}.next`;
  // Only a new file gets the mode.
  await rm(next, { force: true });
  await writeFile(next, content, { mode, flag: 'wx' });
  await rename(next, path);
}

/** Root could otherwise replace /dev/stdout. */
async function expectFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.isFile()) return;
  throw new ZlError('config.invalid', `${path} is not a regular file; name another one`);
}
