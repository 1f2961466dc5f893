import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A file's name survives a crash of the machine only after this. */
export async function syncDirectory(dir: string): Promise<void> {
  // Windows cannot open a directory, and its renames are durable without that.
  if (process.platform === 'win32') return;
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Readers see the old text or the new one, also after a crash of the machine. */
export async function writeAtomically(path: string, text: string, fsync = true): Promise<void> {
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

/** Node's recursive mkdir never ends where an existing folder answers ENOENT, as /proc does. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (reason) {
    const isThere = (folder: string) =>
      stat(folder).then(
        (found) => found.isDirectory(),
        () => false,
      );
    if (await isThere(path)) return;
    const parent = dirname(path);
    if (!hasCode(reason, 'ENOENT') || parent === path || (await isThere(parent))) throw reason;
    await makeFolder(parent);
    await makeFolder(path);
  }
}

/** Undefined when the file does not exist. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (reason) {
    if (hasCode(reason, 'ENOENT')) return undefined;
    throw reason;
  }
}

function hasCode(reason: unknown, code: string): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === code;
}
