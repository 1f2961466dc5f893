import { compileSchema } from '@zerolatency/contracts';
import { parseAbsolutePath } from '@zerolatency/policy';
import type { DocumentKind } from '@zerolatency/signing';
import type { Manifest, Server } from '../../../contracts/gen/manifest.d.ts';
import schema from '../../../contracts/policy/manifest.schema.json' with { type: 'json' };

export type { Manifest, Server as ManifestServer } from '../../../contracts/gen/manifest.d.ts';

const validator = compileSchema<Manifest>(schema, 'contract');

/** A manifest does not expire: a device works without a network. */
export const SERVER_MANIFEST: DocumentKind<Manifest> = {
  name: 'server manifest',
  withoutIt: 'no server runs',
  logField: 'manifest',
  errorId: 'manifest.invalid',
  payloadType: 'application/vnd.zerolatency.manifest.v1+json',
  schema: 'zerolatency.manifest/v1',
  check: checkManifest,
};

/** Checks the shape, and what a schema cannot express. */
function checkManifest(value: unknown) {
  const shape = validator.validate(value);
  if (shape.error !== undefined) return { fault: `${shape.error.field}: ${shape.error.message}` };
  const content = shape.value;
  if (Number.isNaN(Date.parse(content.issuedAt))) return { fault: 'issuedAt is not a date' };
  const names = new Set<string>();
  for (const server of content.servers) {
    if (names.has(server.name)) return { fault: `two servers are named ${server.name}` };
    names.add(server.name);
    const fault = serverFault(server);
    if (fault !== undefined) return { fault: `server ${server.name}: ${fault}` };
  }
  return { content };
}

function serverFault({ command, cwd, files = [], args, env }: Server): string | undefined {
  const paths = [command, ...(cwd === undefined ? [] : [cwd]), ...files.map(({ path }) => path)];
  const odd = paths.find((path) => parseAbsolutePath(path) === undefined);
  if (odd !== undefined) return `${JSON.stringify(odd)} is not a plain absolute path`;
  const texts = [...args, ...Object.values(env.set)];
  // The system would cut the text there without an error.
  return texts.some((text) => text.includes('\0')) ? 'a text contains a NUL character' : undefined;
}
