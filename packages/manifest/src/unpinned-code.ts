import { open, realpath, stat } from 'node:fs/promises';
import { basename, resolve, sep } from 'node:path';
import type { CommandServer } from './manifest.ts';

const INTERPRETERS =
  /^(node(js)?|deno|bun|npm|npx|tsx|ts-node|python|pypy|pipx?|uvx?|ruby|perl|php|lua(jit)?|java|dotnet|Rscript|tclsh|guile|pwsh|busybox|env|(ba|da|z|k|fi|a)?sh)[\d.]*(\.exe)?$/i;

/**
 * What an interpreter runs that is not pinned, for a message; undefined when its script lies in
 * a pinned folder, and for other programs. A hash of the script alone leaves what it imports open.
 */
export async function unpinnedCode(server: CommandServer): Promise<string | undefined> {
  const { command, args, cwd = sep, folders = [] } = server;
  const isPinned = (path: string) =>
    folders.some((folder) => path.startsWith(folder.path.replace(/\/*$/, sep)));
  if (await isScript(command)) return isPinned(command) ? undefined : command;
  const names = [command, await realpath(command).catch(() => command)].map((it) => basename(it));
  if (!names.some((name) => INTERPRETERS.test(name))) return undefined;
  const script = await firstFile(args.map((arg) => resolve(cwd, arg)));
  if (script === undefined) return `what ${command} loads`;
  return isPinned(script) ? undefined : script;
}

async function isScript(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return false;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer.toString('latin1') === '#!';
  } finally {
    await file.close();
  }
}

async function firstFile(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile()) return path;
  }
  return undefined;
}
