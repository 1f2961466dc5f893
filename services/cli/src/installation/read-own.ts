import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';

/** Reads a file that the installation has written; an error names it, so that it can be restored. */
export async function readOwn<T>(
  path: string,
  what: string,
  parse: (text: string) => T,
): Promise<T> {
  const text = await readFile(path, 'utf8');
  try {
    return parse(text);
  } catch (cause) {
    throw new ZlError('file.unusable', `${path} holds no ${what} that can be read`, { cause });
  }
}
