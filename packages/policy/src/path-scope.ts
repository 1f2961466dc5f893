import type { Rule } from './bundle.ts';

/** Whether a call meets a constraint. Unclear counts against the caller. */
export type Match = 'yes' | 'no' | 'unclear';

interface AbsolutePath {
  /** Empty, or a drive. */
  readonly root: string;
  readonly segments: readonly string[];
}

const MAX_PATH_CHARS = 4096;
const DRIVE = /^[A-Za-z]:[\\/]/;
/** Rooted in some way, or below a home directory. */
const ROOTED = /^(?:[\\/~]|[A-Za-z]:)/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern looks for control characters
const CONTROL = /[\u0000-\u001f\u007f]/;
/** A server that decodes once more would see a different path. */
const ENCODED = /%(?:2e|2f|5c|25|00)/i;
/** Windows takes these for another name: a stream, a trailing dot or space, a short name. */
const WINDOWS_ALIAS = /:|[. ]$|~\d/;
/** The same where a file system of Windows is mounted, and any character in percent-encoding. */
const DOUBTFUL = /%[0-9a-f]{2}|[. ]$|~\d/i;
/** Slashes, and what conversions to older character sets turn into slashes. */
const SEPARATOR = /[\\/\u2044\u2215\u2216\u2571\u2572\u27cb\u27cd\u29f5\u29f8\u29f9]/;

/**
 * Whether the path is at or below one of the directories, by its text alone.
 * Allow rules compare exactly. Other rules also catch spellings that a file
 * system without case or with Unicode normalisation takes for the same.
 */
export function pathWithin(
  path: unknown,
  directories: readonly string[],
  effect: Rule['effect'],
): Match {
  const parsed = parseAbsolutePath(path);
  if (parsed === undefined || parsed.segments.some(isDoubtful)) return 'unclear';
  const inside = directories.some((text) => {
    const directory = parseAbsolutePath(text);
    return directory !== undefined && isWithin(parsed, directory, effect);
  });
  return inside ? 'yes' : 'no';
}

/** The absolute path that a relative one stands for; anything else unchanged. */
export function startingAt(base: string, path: unknown): unknown {
  if (typeof path !== 'string' || ROOTED.test(path)) return path;
  return `${base}/${path}`;
}

/** Undefined for paths that two readers could understand differently. Bundles in use rely on what it accepts. */
export function parseAbsolutePath(path: unknown): AbsolutePath | undefined {
  if (typeof path !== 'string' || path.length > MAX_PATH_CHARS) return undefined;
  if (!path.isWellFormed() || CONTROL.test(path) || ENCODED.test(path)) return undefined;
  const parsed = DRIVE.test(path) ? parseWindows(path) : parsePosix(path);
  if (parsed === undefined || parsed.segments.includes('..')) return undefined;
  return parsed.segments.some(looksLikeSeveral) ? undefined : parsed;
}

function parsePosix(path: string): AbsolutePath | undefined {
  // Two slashes may name another machine; a backslash is a separator to some.
  if (!path.startsWith('/') || path.startsWith('//') || path.includes('\\')) return undefined;
  return { root: '', segments: path.split('/').filter(isName) };
}

function parseWindows(path: string): AbsolutePath | undefined {
  const segments = path.slice(2).split(/[\\/]/).filter(isName);
  if (segments.some((segment) => segment !== '..' && WINDOWS_ALIAS.test(segment))) return undefined;
  return { root: path.slice(0, 2).toLowerCase(), segments };
}

function isName(segment: string): boolean {
  return segment !== '' && segment !== '.';
}

/** Full-width dots and slashes turn into the plain ones where a server normalises; no rule may name such a folder. */
function looksLikeSeveral(segment: string): boolean {
  const normal = segment.normalize('NFKC');
  return normal !== segment && (/[\\/]/.test(normal) || normal === '.' || normal === '..');
}

/** Whether a file system or a server may take the name for another one. */
function isDoubtful(segment: string): boolean {
  const plain = plainOf(segment);
  return plain === '' || DOUBTFUL.test(segment) || DOUBTFUL.test(plain) || SEPARATOR.test(plain);
}

function isWithin(path: AbsolutePath, directory: AbsolutePath, effect: Rule['effect']): boolean {
  // Windows puts a path without a drive on the current one, which only the server knows.
  const isOnAnyDrive = effect !== 'allow' && path.root === '';
  if (path.root !== directory.root && !isOnAnyDrive) return false;
  const same = effect === 'allow' ? Object.is : sameFolded;
  return directory.segments.every((segment, index) => same(segment, path.segments[index]));
}

function sameFolded(a: string, b: string | undefined): boolean {
  return b !== undefined && fold(a) === fold(b);
}

/** HFS+ ignores invisible characters. */
const IGNORABLE = /\p{Default_Ignorable_Code_Point}/gu;

function plainOf(segment: string): string {
  return segment.replace(IGNORABLE, '').normalize('NFKC');
}

function fold(segment: string): string {
  return plainOf(segment).toUpperCase().toLowerCase().normalize('NFKC');
}
