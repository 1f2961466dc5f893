import { readlinkSync, realpathSync, statSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { type Located, locate } from './locate.ts';

/** A file saved by rename looks deleted for an instant to whoever holds the old one. */
const MAX_TRIES = 4;
/** As the contract says, and the longest path of Linux. */
const MAX_PATH_CHARS = 4096;
/** No one keeps files deeper, and resolving a path costs time for each part. */
const MAX_DEPTH = 256;
/** As many as Linux follows. */
const MAX_LINKS = 40;

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
  return { first, given: absolute, real: absolute.map((root) => realpathSync.native(root)) };
}

/** A path leads here, whether or not the file can be read; policy decides on it once more. */
export interface Place {
  readonly path: string;
  /** How many names the file has. */
  readonly links: number;
}

type Opened =
  | { readonly file: Located; readonly place: Place }
  /** No place is outside the roots. */
  | { readonly error: ZlError; readonly place?: Place };

/** Opens a regular file inside the roots, whatever the path says and whoever renames meanwhile. */
export function openWithin(roots: Roots, path: string): Opened {
  const fault = lengthFault(path);
  if (fault !== undefined) return { error: fault };
  const absolute = resolve(roots.first, path);
  if (absolute.split(sep).length > MAX_DEPTH) {
    return { error: invalid(`has more than ${MAX_DEPTH} parts`) };
  }
  // Otherwise the error for a path outside would reveal whether it exists.
  if (!isWithin(roots.given, absolute) && !isWithin(roots.real, absolute)) return outside(path);
  for (let tries = 1; tries <= MAX_TRIES; tries++) {
    const opened = tryOpen(roots, { path, absolute });
    if (opened !== undefined) return opened;
  }
  return unopened(roots, { path, absolute });
}

function lengthFault(path: string): ZlError | undefined {
  if (path.length > MAX_PATH_CHARS) return invalid(`has more than ${MAX_PATH_CHARS} characters`);
  return path.includes('\0') ? invalid('holds a NUL character') : undefined;
}

/** Undefined for a file that was deleted or replaced meanwhile. */
function tryOpen(
  roots: Roots,
  { path, absolute }: { readonly path: string; readonly absolute: string },
): Opened | undefined {
  let file: Located;
  try {
    file = locate(absolute);
  } catch (cause) {
    return unopened(roots, { path, absolute, cause });
  }
  const { realPath, links, isRegular } = file;
  if (realPath !== undefined && isRegular && isWithin(roots.real, realPath)) {
    return { file, place: { path: realPath, links } };
  }
  file.close();
  if (realPath === undefined) return undefined;
  if (!isWithin(roots.real, realPath)) return outside(path);
  // Every directory has several links.
  return { error: notRegular(path), place: { path: realPath, links: 1 } };
}

function unopened(
  roots: Roots,
  { path, absolute, cause }: { path: string; absolute: string; cause?: unknown },
): Opened {
  const place = placeOf(absolute);
  if (!isWithin(roots.real, place)) return outside(path);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const isSpecial = code === 'ENXIO' || code === 'EOPNOTSUPP';
  const error = isSpecial ? notRegular(path, cause) : notFound(path, cause);
  return { error, place: { path: place, links: 1 } };
}

/** Where a path that cannot be opened leads, as far as its parts and links exist. */
function placeOf(absolute: string): string {
  let at = absolute;
  // Nothing below a link that does not resolve exists, so it is set aside.
  const below: string[] = [];
  for (let links = 0; ; links++) {
    const { real, missing } = deepestExisting(at);
    const [first, ...rest] = missing;
    const target = first === undefined ? undefined : linkTarget(join(real, first));
    if (target === undefined || links === MAX_LINKS) return join(real, ...missing, ...below);
    below.unshift(...rest);
    at = resolve(real, target);
  }
}

function deepestExisting(path: string): { real: string; missing: readonly string[] } {
  const parts = path.split(sep);
  const upTo = (count: number) => parts.slice(0, count).join(sep) || sep;
  let existing = 1;
  // Where a part does not resolve, no part below it does, so bisection finds the last one that does.
  for (let missing = parts.length + 1; missing - existing > 1; ) {
    const middle = Math.floor((existing + missing) / 2);
    if (realPathOf(upTo(middle)) === undefined) missing = middle;
    else existing = middle;
  }
  return { real: realPathOf(upTo(existing)) ?? sep, missing: parts.slice(existing) };
}

function realPathOf(path: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch {
    // It does not exist or may not be read.
    return undefined;
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // It is not a link.
    return undefined;
  }
}

function isWithin(directories: readonly string[], path: string): boolean {
  return directories.some((directory) => {
    return (
      path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep)
    );
  });
}

function outside(path: string): Opened {
  return { error: new ZlError('fs.outside_roots', `${path} is outside the roots`) };
}

function notRegular(path: string, cause?: unknown): ZlError {
  return new ZlError('fs.not_regular', `${path} is not a regular file`, { cause });
}

function notFound(path: string, cause?: unknown): ZlError {
  return new ZlError('fs.not_found', `${path} does not exist or cannot be read`, { cause });
}

function invalid(problem: string): ZlError {
  return new ZlError('tool.arguments_invalid', `path: ${problem}`);
}
