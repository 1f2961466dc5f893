import { realpathSync, statSync } from 'node:fs';
import { dirname, resolve, sep } from 'node:path';
import { ZlError } from '@zerolatency/errors';

/** The directories a device offers, as given and as they really are. */
export interface Roots {
  /** Against which relative paths are resolved. */
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

export function isWithin(directories: readonly string[], path: string): boolean {
  return directories.some((directory) => {
    return (
      path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep)
    );
  });
}

/** Whether a path that cannot be opened leads out of the roots as far as it exists. */
export function leadsOutside(roots: Roots, path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    try {
      return !isWithin(roots.real, realpathSync(at));
    } catch {
      // This part does not exist or may not be looked at; its parent tells.
      if (dirname(at) === at) return true;
    }
  }
}
