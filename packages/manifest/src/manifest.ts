import { compileSchema } from '@zerolatency/contracts';
import { parseAbsolutePath } from '@zerolatency/policy';
import type { DocumentKind } from '@zerolatency/signing';
import type { BuiltinServer, CommandServer, Manifest } from '../../../contracts/gen/manifest.d.ts';
import schema from '../../../contracts/policy/manifest.schema.json' with { type: 'json' };

export type {
  BuiltinServer,
  CommandServer,
  Manifest,
} from '../../../contracts/gen/manifest.d.ts';

/** A server that is part of the bridge, or a program pinned by hashes. */
export type ManifestServer = BuiltinServer | CommandServer;

const validator = compileSchema<Manifest>(schema, 'built-in');

/** A manifest does not expire: a device works without a network. */
export const SERVER_MANIFEST: DocumentKind<Manifest> = {
  name: 'server manifest',
  withoutIt: 'no server runs',
  logField: 'manifest',
  errorId: 'manifest.invalid',
  payloadType: 'application/vnd.zerolatency.manifest.v2+json',
  schema: 'zerolatency.manifest/v3',
  check: checkManifest,
};

/**
 * The servers as their manifest means them. Version 2 was signed before servers ran in sandboxes
 * and before interpreters needed pinned folders, so there neither is implied.
 */
export function serversOf({ schema, servers }: Manifest): readonly ManifestServer[] {
  return schema === 'zerolatency.manifest/v2' ? servers.map(fromVersion2) : servers;
}

function fromVersion2(server: ManifestServer): ManifestServer {
  const { grants, sandbox = 'none', ...rest } = server;
  if (!('builtin' in rest)) return { ...rest, sandbox, unpinned: true, ...(grants && { grants }) };
  // The bridge knows what its own servers need; their grants had no effect.
  return sandbox === 'none' ? rest : { ...rest, sandbox, ...(grants && { grants }) };
}

/** Checks the shape, and what a schema cannot express. */
function checkManifest(value: unknown) {
  const shape = validator.validate(value);
  if (shape.error !== undefined) return { fault: `${shape.error.field}: ${shape.error.message}` };
  const content = shape.value;
  if (Number.isNaN(Date.parse(content.issuedAt))) return { fault: 'issuedAt is not a date' };
  const names = new Set<string>();
  const later = content.servers.find(isOfVersion3);
  if (content.schema === 'zerolatency.manifest/v2' && later !== undefined) {
    const fields = 'unpinned, maxMemoryBytes and maxProcesses';
    return { fault: `server ${later.name}: ${fields} need the schema zerolatency.manifest/v3` };
  }
  for (const server of serversOf(content)) {
    if (names.has(server.name)) return { fault: `two servers are named ${server.name}` };
    names.add(server.name);
    const fault = serverFault(server);
    if (fault !== undefined) return { fault: `server ${server.name}: ${fault}` };
  }
  return { content };
}

function isOfVersion3(server: ManifestServer): boolean {
  const { maxMemoryBytes, maxProcesses } = server.limits ?? {};
  return 'unpinned' in server || maxMemoryBytes !== undefined || maxProcesses !== undefined;
}

function serverFault(server: ManifestServer): string | undefined {
  const { sandbox, grants: { network = [] } = {} } = server;
  // Fail closed: whoever names hosts means those and no others.
  if (sandbox !== 'none' && network.some((host) => host !== '*')) {
    return 'grants.network: a sandbox cannot restrict hosts yet; grant ["*"] or nothing';
  }
  const odd = pathsOf(server).find((path) => parseAbsolutePath(path) === undefined);
  if (odd !== undefined) return `${JSON.stringify(odd)} is not a plain absolute path`;
  if ('builtin' in server) return undefined;
  const texts = [...server.args, ...Object.values(server.env.set)];
  // The system would cut the text there without an error.
  return texts.some((text) => text.includes('\0')) ? 'a text contains a NUL character' : undefined;
}

function pathsOf(server: ManifestServer): readonly string[] {
  const { read = [], write = [] } = server.grants ?? {};
  if ('builtin' in server) return [...server.settings.roots, ...read, ...write];
  const { command, cwd, files = [], folders = [] } = server;
  const pinned = [...files, ...folders].map(({ path }) => path);
  return [command, ...(cwd === undefined ? [] : [cwd]), ...pinned, ...read, ...write];
}
