import { realpath } from 'node:fs/promises';

/** The real paths of the folders that exist and are, or lie behind, links. */
export async function realFolders(
  folders: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = await Promise.all(
    [...new Set(folders)].map(async (folder) => [folder, await realPathOf(folder)] as const),
  );
  return new Map(found.filter(([folder, real]) => real !== folder));
}

async function realPathOf(folder: string): Promise<string> {
  try {
    return await realpath(folder);
  } catch {
    // No file can be opened in a folder that does not exist or may not be read.
    return folder;
  }
}
