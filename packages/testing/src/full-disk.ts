import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Teardown, tempDir } from './temp-dir.ts';

export interface FullDisk {
  readonly dir: string;
  /** Writes until no byte is left. */
  fill(): void;
  /** Gives back what fill() took. */
  empty(): void;
}

/** A small file system of its own; undefined where this user may not mount one. */
export function fullDisk(t: Teardown, { bytes }: { readonly bytes: number }): FullDisk | undefined {
  let isMounted = false;
  let dir = '';
  // Registered before the folder's removal, because hooks run in that order.
  t.after(() => {
    if (isMounted) execFileSync('umount', ['--lazy', dir]);
  });
  dir = tempDir(t);
  try {
    const mount = ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir];
    execFileSync('mount', mount, { stdio: 'ignore' });
    isMounted = true;
  } catch {
    // Not root, or not Linux.
    return undefined;
  }
  const ballast = join(dir, 'ballast');
  return {
    dir,
    fill: () => fill(ballast),
    empty: () => rmSync(ballast),
  };
}

function fill(path: string): void {
  const file = openSync(path, 'a');
  try {
    for (const step of [65_536, 4_096, 1]) {
      const block = Buffer.alloc(step);
      while (hasRoom(file, block));
    }
  } finally {
    closeSync(file);
  }
}

function hasRoom(file: number, block: Uint8Array): boolean {
  try {
    return writeSync(file, block) === block.length;
  } catch {
    return false;
  }
}
