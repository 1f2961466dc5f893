import { stat } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import {
  type CommandServer,
  fileDigest,
  folderDigest,
  type Manifest,
  type ManifestServer,
  pathsOutsideSandbox,
  SERVER_MANIFEST,
  serversOf,
  unpinnedCode,
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
  return signFile(terminal, SERVER_MANIFEST, file, { ...options, warningsOf: warningsAbout });
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
async function warningsAbout(manifest: Manifest): Promise<string[]> {
  const isOld = manifest.schema === 'zerolatency.manifest/v2';
  const old = `the schema ${manifest.schema} implies neither sandboxes nor pinned imports; sign ${SERVER_MANIFEST.schema} once every bridge reads it`;
  const each = serversOf(manifest).map(async (server) => {
    const { name } = server;
    const hashes = 'builtin' in server ? [] : await hashWarnings(server);
    const others = isOld ? [] : [await codeWarning(server), ...sandboxWarnings(server)];
    return [
      ...hashes,
      ...others.flatMap((it) => (it === undefined ? [] : `server ${name}: ${it}`)),
    ];
  });
  return [...(isOld ? [old] : []), ...(await Promise.all(each)).flat()];
}

async function codeWarning(server: ManifestServer): Promise<string | undefined> {
  if ('builtin' in server) return undefined;
  const loose = await unpinnedCode(server);
  if (server.unpinned) return 'it is unpinned, so what it loads may change after signing';
  if (loose === undefined) return undefined;
  const remedy = 'pin its folder in "folders", or set "unpinned"';
  return `it will not start, because ${JSON.stringify(loose)} is in no pinned folder; ${remedy}`;
}

/** An empty list of hosts says that none are needed. */
function sandboxWarnings(server: ManifestServer): string[] {
  const { sandbox, grants } = server;
  if (sandbox === 'none') return ['it runs without a sandbox and can do what the user can'];
  if ('builtin' in server) return [];
  const paths = pathsOutsideSandbox(server).map(
    (path) => `its sandbox hides ${JSON.stringify(path)}; grant it, if it reads or writes there`,
  );
  const remedy = 'grant "network": ["*"] if it needs one, else []';
  return [...paths, ...(grants?.network ? [] : [`its sandbox has no network; ${remedy}`])];
}

async function hashWarnings({ name, command, sha256, files = [], folders = [] }: CommandServer) {
  const warnings = await Promise.all([
    ...[{ path: command, sha256 }, ...files].map((file) => hashWarning(name, file, fileDigest)),
    ...folders.map((folder) => hashWarning(name, folder, folderDigest)),
  ]);
  return warnings.flat();
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
