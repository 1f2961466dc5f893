import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuiltinServer, CommandServer, Manifest, ManifestServer } from '@zerolatency/manifest';
import { type Behaviour, fixtureServer } from '@zerolatency/mcp/testing';
import { nodeLauncher } from '@zerolatency/testing';

const hashes = new Map<string, string>();

export function sha256Of(path: string): string {
  const known = hashes.get(path);
  if (known !== undefined) return known;
  const made = createHash('sha256').update(readFileSync(path)).digest('hex');
  hashes.set(path, made);
  return made;
}

/** A server of packages/mcp/test as a manifest entry. */
export function fixtureSpec(
  behaviour: Behaviour,
  more: Partial<CommandServer> = {},
): CommandServer {
  const { name, args } = fixtureServer(behaviour);
  const files = args.slice(0, 1).map((path) => ({ path, sha256: sha256Of(path) }));
  const base = { name, command: nodeLauncher, sha256: sha256Of(nodeLauncher), args, files };
  // Where the launcher finds Node.
  const grants = { read: [join(import.meta.dirname, '../../../node_modules')] };
  return { ...base, unpinned: true, env: { allow: [], set: {} }, grants, ...more };
}

/** The built-in fs server over one root. */
export function fsSpec(root: string, more: Partial<BuiltinServer> = {}): BuiltinServer {
  return { name: 'fs', builtin: 'fs', settings: { roots: [root] }, ...more };
}

export function manifestOf(servers: readonly ManifestServer[]): Manifest {
  const issuedAt = '2026-01-01T00:00:00Z';
  return { schema: 'zerolatency.manifest/v3', id: 'test', version: 1, issuedAt, servers };
}
