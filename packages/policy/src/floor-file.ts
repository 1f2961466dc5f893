import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import type { Floor, FloorPort } from './floor.ts';

/** Remove the file to let an installation follow another policy. */
export function openFloorFile(path: string): FloorPort {
  return { load: () => load(path), save: (floor) => save(path, floor) };
}

async function load(path: string): Promise<Floor | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (reason) {
    if (hasCode(reason, 'ENOENT')) return undefined;
    throw reason;
  }
  const floor = parse(text);
  // Guessing here would let an older bundle in.
  if (floor === undefined) throw new ZlError('policy.invalid', `${path} cannot be read as a floor`);
  return floor;
}

function parse(text: string): Floor | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The caller says which file it was.
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('id' in value && 'version' in value && 'digest' in value)) return undefined;
  const { id, version, digest } = value;
  if (typeof id !== 'string' || typeof digest !== 'string') return undefined;
  return typeof version === 'number' && Number.isSafeInteger(version)
    ? { id, version, digest }
    : undefined;
}

async function save(path: string, { id, version, digest }: Floor): Promise<void> {
  const next = `${path}.next`;
  await withFile(next, 'w', async (file) => {
    await file.writeFile(`${JSON.stringify({ id, version, digest })}\n`);
    await file.sync();
  });
  await rename(next, path);
  await syncDirectory(dirname(path));
}

async function syncDirectory(path: string): Promise<void> {
  try {
    await withFile(path, 'r', (directory) => directory.sync());
  } catch (reason) {
    // Windows opens no directory, and keeps a rename without being asked.
    if (!hasCode(reason, 'EISDIR', 'EPERM')) throw reason;
  }
}

function hasCode(reason: unknown, ...codes: readonly string[]): boolean {
  return reason instanceof Error && 'code' in reason && codes.includes(String(reason.code));
}

async function withFile(
  path: string,
  flags: 'r' | 'w',
  use: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}
