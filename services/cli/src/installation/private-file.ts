import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Readable by its owner alone. */
export async function writePrivate(path: string, content: string): Promise<void> {
  await replaceFile(path, content, 0o600);
}

export async function writePublic(path: string, content: string): Promise<void> {
  await replaceFile(path, content, 0o644);
}

/** Whole or not at all: running services watch some of these files. */
async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.next`;
  // The mode is given to new files only.
  await rm(next, { force: true });
  await writeFile(next, content, { mode, flag: 'wx' });
  await rename(next, path);
}
