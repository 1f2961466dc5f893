import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { readText } from '../input/read-input.ts';

/** Every PEM of a folder, or one PEM file. */
export async function readKeys(path: string): Promise<string[]> {
  if (path.endsWith('.pem')) return [await readText(path)];
  const names = await readdir(path).catch((cause: unknown) => {
    throw new ZlError('config.invalid', `${path} is neither a .pem file nor a folder of them`, {
      cause,
    });
  });
  const files = names.filter((name) => name.endsWith('.pem')).sort();
  if (files.length === 0) throw new ZlError('config.invalid', `${path} holds no key (*.pem)`);
  return await Promise.all(files.map((name) => readText(join(path, name))));
}
