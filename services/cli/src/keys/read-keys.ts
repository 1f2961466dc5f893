import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Every PEM of a folder, or one PEM file. */
export async function readKeys(path: string): Promise<string[]> {
  if (path.endsWith('.pem')) return [await readFile(path, 'utf8')];
  const names = (await readdir(path)).filter((name) => name.endsWith('.pem'));
  return await Promise.all(names.map((name) => readFile(join(path, name), 'utf8')));
}
