import { stat } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import {
  fileDigest,
  folderDigest,
  type Manifest,
  type ManifestServer,
  SERVER_MANIFEST,
} from '@zerolatency/manifest';
import { EXIT_STATUS, print, type Terminal } from '../terminal.ts';
import {
  type SignOptions,
  showFile,
  signFile,
  type VerifyOptions,
  verifyFile,
} from './signed-file.ts';

export function manifestSign(
  terminal: Terminal,
  file: string,
  options: SignOptions,
): Promise<number> {
  return signFile(terminal, SERVER_MANIFEST, file, { ...options, warningsOf: hashWarnings });
}

export function manifestVerify(
  terminal: Terminal,
  file: string,
  options: VerifyOptions,
): Promise<number> {
  const show = ({ servers }: Manifest) => ({
    fields: { servers: servers.map(({ name }) => name) },
    lines: servers.map((it) => `  server  ${it.name}: ${JSON.stringify(programOf(it))}`),
  });
  return verifyFile(terminal, SERVER_MANIFEST, file, { ...options, show });
}

/** Prints each hash as a manifest has it, before its path. */
export async function manifestHash(terminal: Terminal, paths: readonly string[]): Promise<number> {
  for (const path of paths) {
    const found = await stat(path).catch((cause: unknown) => {
      throw new ZlError('config.invalid', `cannot read ${path}; name a file or folder`, { cause });
    });
    if (!found.isFile() && !found.isDirectory()) {
      throw new ZlError('config.invalid', `${path} is not a file or folder; name one that is`);
    }
    const sha256 = await (found.isDirectory() ? folderDigest(path) : fileDigest(path));
    print(terminal, `${sha256}  ${path}`);
  }
  return EXIT_STATUS.ok;
}

export function manifestShow(terminal: Terminal, file: string): Promise<number> {
  return showFile(terminal, SERVER_MANIFEST, file);
}

/** What a person checks about a server: its command line, or its settings. */
function programOf(server: ManifestServer) {
  if ('command' in server) return [server.command, ...server.args];
  return { builtin: server.builtin, ...server.settings };
}

/** Only warnings, because a manifest may be meant for other machines. */
async function hashWarnings({ servers }: Manifest): Promise<string[]> {
  const warnings = servers.flatMap((server) => {
    if ('builtin' in server) return [];
    const { name, command, sha256, files = [], folders = [] } = server;
    return [
      ...[{ path: command, sha256 }, ...files].map((file) => hashWarning(name, file, fileDigest)),
      ...folders.map((folder) => hashWarning(name, folder, folderDigest)),
    ];
  });
  return (await Promise.all(warnings)).flat();
}

async function hashWarning(
  name: string,
  { path, sha256 }: { readonly path: string; readonly sha256: string },
  digest: (path: string) => Promise<string>,
): Promise<string[]> {
  const found = await digest(path).catch(() => undefined);
  if (found === sha256) return [];
  const why = found === undefined ? 'cannot be read on this machine' : `here has sha256 ${found}`;
  return [`server ${name}: ${JSON.stringify(path)} ${why}`];
}
