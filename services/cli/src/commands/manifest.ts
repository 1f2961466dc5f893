import { stat } from 'node:fs/promises';
import {
  fileDigest,
  folderDigest,
  type Manifest,
  type ManifestServer,
  SERVER_MANIFEST,
} from '@zerolatency/manifest';
import {
  checkDocument,
  documentName,
  signDocument,
  signerFromPem,
  verifyDocument,
} from '@zerolatency/signing';
import { foreignLine } from '../foreign-text.ts';
import { readDocument, readKeys, readText } from '../input.ts';
import { writePublic } from '../installation/private-file.ts';
import { EXIT_STATUS, print, printJson, readable, type Terminal } from '../terminal.ts';

/** Signs the file as it is. Warnings about its hashes go to stderr. */
export async function manifestSign(
  terminal: Terminal,
  file: string,
  options: { readonly key: string; readonly out: string },
): Promise<number> {
  const manifest = await readManifest(file);
  const signer = signerFromPem(await readText(options.key));
  await writePublic(options.out, await signDocument(SERVER_MANIFEST, manifest, [signer]));
  for (const warning of await hashWarnings(manifest)) {
    terminal.stderr.write(`warning: ${whole(warning)}\n`);
  }
  print(terminal, `signed ${documentName(manifest)} with ${signer.keyid} into ${options.out}`);
  return EXIT_STATUS.ok;
}

export async function manifestVerify(
  terminal: Terminal,
  file: string,
  options: { readonly json?: boolean; readonly keys: string },
): Promise<number> {
  const [envelope, keys] = await Promise.all([readText(file), readKeys(options.keys)]);
  const verified = verifyDocument(SERVER_MANIFEST, envelope, { keys, nowMs: Date.now() });
  if ('error' in verified) {
    if (!options.json) throw verified.error;
    const { id, message } = verified.error;
    printJson(terminal, { valid: false, error: { id, message } });
    return EXIT_STATUS.failed;
  }
  const { content, digest, keyids } = verified;
  const { id, version, servers } = content;
  if (options.json) {
    const names = servers.map(({ name }) => name);
    printJson(terminal, { valid: true, id, version, digest, keyids, servers: names });
    return EXIT_STATUS.ok;
  }
  print(terminal, `${id}@${version} is valid`);
  print(terminal, `  digest  ${digest}\n  signed  ${keyids.join(', ')}`);
  for (const server of servers) {
    print(terminal, whole(`  server  ${server.name}: ${JSON.stringify(programOf(server))}`));
  }
  return EXIT_STATUS.ok;
}

/** Prints each hash as a manifest has it, before its path. */
export async function manifestHash(terminal: Terminal, paths: readonly string[]): Promise<number> {
  for (const path of paths) {
    const isFolder = (await stat(path)).isDirectory();
    const sha256 = await (isFolder ? folderDigest(path) : fileDigest(path));
    print(terminal, `${sha256}  ${path}`);
  }
  return EXIT_STATUS.ok;
}

export async function manifestShow(terminal: Terminal, file: string): Promise<number> {
  print(terminal, readable(await readManifest(file)));
  return EXIT_STATUS.ok;
}

async function readManifest(file: string): Promise<Manifest> {
  const checked = checkDocument(SERVER_MANIFEST, await readDocument(file, 'manifest.invalid'));
  if ('error' in checked) throw checked.error;
  return checked.content;
}

/** The cut part of a command line could be the part that matters. */
const whole = (line: string) => foreignLine(line, Number.POSITIVE_INFINITY);

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
