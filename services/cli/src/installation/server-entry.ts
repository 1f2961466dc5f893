import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { basename, delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import {
  type CommandServer,
  fileDigest,
  folderDigest,
  pathsOutsideSandbox,
  unpinnedCode,
} from '@zerolatency/manifest';
import type { Terminal } from '../terminal.ts';

export interface AskedServer {
  readonly name: string;
  /** The command line, as a person would type it here. */
  readonly words: readonly string[];
  /** Folders and files that its sandbox shows. */
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly network: boolean;
  /** What a tool can change; one that is not named counts as acting outside the device. */
  readonly effects: readonly ToolEffects[];
  /** Accepts code that is not pinned. */
  readonly unpinned: boolean;
}

export interface ToolEffects {
  readonly tool: string;
  readonly effects: 'none' | 'local' | 'external';
}

/** The entry of a manifest for a command line: absolute paths, hashes, pinned code and grants. */
export async function serverEntry(
  { cwd, env }: Pick<Terminal, 'cwd' | 'env'>,
  asked: AskedServer,
): Promise<CommandServer> {
  const { name, network, unpinned } = asked;
  const [program = '', ...words] = asked.words;
  const command = await programAt(program, { cwd, path: env.PATH ?? '' });
  const args = await Promise.all(words.map((word) => absoluteIfPath(word, cwd)));
  const isPython = /^python[\d.]*$/.test(basename(command));
  const effects = Object.fromEntries(asked.effects.map((each) => [each.tool, each.effects]));
  const entry: CommandServer = {
    ...{ name, command, args },
    ...(asked.effects.length > 0 && { effects }),
    sha256: await fileDigest(command),
    // Compiled files would change a pinned folder after signing.
    env: { allow: ['LANG', 'PATH'], set: isPython ? { PYTHONDONTWRITEBYTECODE: '1' } : {} },
  };
  const pinned = unpinned ? { ...entry, unpinned: true as const } : await pinnedEntry(entry);
  const read = asked.read.map((path) => resolve(cwd, path));
  const write = asked.write.map((path) => resolve(cwd, path));
  const granted = { ...pinned, grants: { read, write } };
  // A person who names a path on the command line means the server to read it.
  const named = pathsOutsideSandbox(granted);
  const grants = { read: [...read, ...named], write, ...(network && { network: ['*'] }) };
  return { ...granted, grants };
}

async function pinnedEntry(entry: CommandServer): Promise<CommandServer> {
  const loose = await unpinnedCode(entry);
  if (loose === undefined) return entry;
  const accept = '--unpinned accepts code that may change after signing';
  if (!isAbsolute(loose)) {
    throw new ZlError(
      'manifest.invalid',
      `${loose} cannot be pinned: no argument is its script; ${accept}`,
    );
  }
  const path = dirname(loose);
  try {
    return { ...entry, folders: [{ path, sha256: await folderDigest(path) }] };
  } catch (cause) {
    if (!(cause instanceof ZlError)) throw cause;
    const message = `${cause.message}; move the server to a folder of its own, or ${accept}`;
    throw new ZlError('manifest.invalid', message, { cause });
  }
}

async function programAt(
  program: string,
  { cwd, path }: { readonly cwd: string; readonly path: string },
): Promise<string> {
  const folders = program.includes('/') ? [cwd] : path.split(delimiter).filter(isAbsolute);
  for (const folder of folders) {
    const candidate = resolve(folder, program);
    if (await isExecutable(candidate)) return candidate;
  }
  const fault = program.includes('/')
    ? `${resolve(cwd, program)} is not an executable file; name one that is`
    : `${program} is not on PATH; write the path of the program`;
  throw new ZlError('config.invalid', fault);
}

async function isExecutable(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The server does not start in this folder. */
async function absoluteIfPath(word: string, cwd: string): Promise<string> {
  if (word === '' || word.startsWith('-')) return word;
  const path = join(resolve(cwd, word));
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  return exists ? path : word;
}
