import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import schema from '../../../contracts/policy/manifest.schema.json' with { type: 'json' };
import type { Manifest, ManifestServer } from './manifest.ts';
import { parseAbsolutePath } from './path-scope.ts';

const validator = compileSchema<Manifest>(schema, 'contract');

/** Whether a value is a manifest: its shape, and what a schema cannot say. */
export function checkManifest(value: unknown): { manifest: Manifest } | { error: ZlError } {
  const shape = validator.validate(value);
  if (shape.error !== undefined) return invalid(`${shape.error.field}: ${shape.error.message}`);
  const manifest = shape.value;
  if (Number.isNaN(Date.parse(manifest.issuedAt))) return invalid('issuedAt is no date');
  const names = new Set<string>();
  for (const server of manifest.servers) {
    if (names.has(server.name)) return invalid(`two servers are named ${server.name}`);
    names.add(server.name);
    const fault = serverFault(server);
    if (fault !== undefined) return invalid(`server ${server.name}: ${fault}`);
  }
  return { manifest };
}

function serverFault({ command, cwd, files = [], args, env }: ManifestServer): string | undefined {
  const paths = [command, ...(cwd === undefined ? [] : [cwd]), ...files.map(({ path }) => path)];
  const odd = paths.find((path) => parseAbsolutePath(path) === undefined);
  if (odd !== undefined) return `${JSON.stringify(odd)} is not a plain absolute path`;
  const texts = [...args, ...Object.values(env.set)];
  // The system would cut the text there, without a word.
  return texts.some((text) => text.includes('\0')) ? 'a text holds a NUL character' : undefined;
}

function invalid(why: string): { error: ZlError } {
  return { error: new ZlError('manifest.invalid', `not a server manifest: ${why}`) };
}
