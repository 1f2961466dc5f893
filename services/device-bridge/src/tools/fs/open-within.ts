import { resolve } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { type Located, locate } from './locate.ts';
import { isWithin, leadsOutside, type Roots } from './roots.ts';

/** A file that is saved by rename is deleted for an instant, for whoever holds the old one. */
const maxTries = 4;

/** Takes hold of a regular file inside the roots, whatever the path says and whoever renames meanwhile. */
export function openWithin(roots: Roots, path: string): Located {
  const absolute = resolve(roots.first, path);
  // Without this a path outside would tell, by its error, whether it exists.
  if (!isWithin(roots.given, absolute) && !isWithin(roots.real, absolute)) throw outside(path);
  for (let tries = 1; tries <= maxTries; tries++) {
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
