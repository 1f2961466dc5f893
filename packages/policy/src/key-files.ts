import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The public keys that lie in a directory now, in an order that stays. */
export async function pemFiles(dir: string): Promise<string[]> {
  const names = await readdir(dir);
  return names
    .filter((name) => name.endsWith('.pem'))
    .sort()
    .map((name) => join(dir, name));
}
