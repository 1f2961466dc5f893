import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from './segments.ts';

/** A reader, and a machine that crashed, see the old text or the new one. */
export async function writeAtomically(path: string, text: string, fsync: boolean): Promise<void> {
  const draft = `${path}.new`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.writeFile(text);
    if (fsync) await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(draft, path);
  if (fsync) await syncDirectory(dirname(path));
}
