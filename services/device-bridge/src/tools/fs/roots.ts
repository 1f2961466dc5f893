import { realpathSync, statSync } from 'node:fs';
import { dirname, resolve, sep } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { type Located, locate } from './locate.ts';

/** A file saved by rename looks deleted for an instant to whoever holds the old one. */
const MAX_TRIES = 4;

/** The directories a device offers, as given and resolved. */
export interface Roots {
  /** Relative paths are resolved against it. */
  readonly first: string;
  readonly given: readonly string[];
  readonly real: readonly string[];
}

export function openRoots(given: readonly string[]): Roots {
  const absolute = given.map((root) => resolve(root));
  const first = absolute[0];
  if (first === undefined) throw new ZlError('config.invalid', 'give at least one --root');
  for (const root of absolute) {
    if (!statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
      throw new ZlError('config.invalid', `the root ${root} is not a directory`);
    }
  }
  return { first, given: absolute, real: absolute.map((root) => realpathSync(root)) };
}

function isWithin(directories: readonly string[], path: string): boolean {
  return directories.some((directory) => {
    return (
      path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep)
    );
  });
}

/** Whether the existing part of a path that cannot be opened lies outside the roots. */
function leadsOutside(roots: Roots, path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    try {
      return !isWithin(roots.real, realpathSync(at));
    } catch {
      // This part does not exist or may not be read; its parent decides.
      if (dirname(at) === at) return true;
    }
  }
}

/** Opens a regular file inside the roots, whatever the path says and whoever renames meanwhile. */
export function openWithin(roots: Roots, path: string): Located {
  const absolute = resolve(roots.first, path);
  // Otherwise the error for a path outside would reveal whether it exists.
  if (!isWithin(roots.given, absolute) && !isWithin(roots.real, absolute)) throw outside(path);
  for (let tries = 1; tries <= MAX_TRIES; tries++) {
    const file = locateOrThrow(roots, { path, absolute });
    const error = fault(roots, file, path);
    if (error === undefined) return file;
    file.close();
    const deleted = error.id === 'fs.not_found';
    if (!deleted) throw error;
  }
  throw notFound(path);
}

function fault(roots: Roots, { realPath, stats }: Located, path: string): ZlError | undefined {
  if (!isWithin(roots.real, realPath)) return outside(path);
  if (!stats.isFile()) return new ZlError('fs.not_regular', `${path} is not a regular file`);
  return stats.nlink === 0 ? notFound(path) : undefined;
}

function locateOrThrow(roots: Roots, { path, absolute }: { path: string; absolute: string }) {
  try {
    return locate(absolute);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ERR_INVALID_ARG_VALUE') {
      throw new ZlError('tool.arguments_invalid', 'path: holds a NUL character', { cause });
    }
    if (leadsOutside(roots, absolute)) throw outside(path);
    if (code === 'ENXIO' || code === 'EOPNOTSUPP') {
      throw new ZlError('fs.not_regular', `${path} is not a regular file`, { cause });
    }
    throw notFound(path, cause);
  }
}

const outside = (path: string) => new ZlError('fs.outside_roots', `${path} is outside the roots`);

function notFound(path: string, cause?: unknown): ZlError {
  return new ZlError('fs.not_found', `${path} does not exist or cannot be read`, { cause });
}
