import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { openFloorFile } from '@zerolatency/policy';
import type { BridgeConfig } from '../config.ts';
import { Leftovers } from '../servers/leftovers.ts';
import { loadManifest } from '../servers/load-manifest.ts';
import { Supervisor, type SupervisorDeps } from '../servers/supervisor.ts';

/** The servers of the signed manifest, not started yet. Rejects when there is no good manifest. */
export async function openServers(
  { servers, stateDir }: Pick<BridgeConfig, 'servers' | 'stateDir'>,
  deps: Omit<SupervisorDeps, 'backoff' | 'leftovers'>,
): Promise<Supervisor> {
  const { manifest, digest } = await loadManifest(servers.manifestFile, {
    keys: await readKeys(servers.keysDir),
    nowMs: Date.now(),
    floor: openFloorFile(join(stateDir, 'manifest-floor.json')),
  });
  const leftovers = new Leftovers(join(stateDir, 'servers'));
  for (const server of leftovers.end()) {
    deps.log.warn({ server }, 'a server that an earlier bridge left behind was killed');
  }
  const { id, version } = manifest;
  deps.log.info({ manifest: id, version, digest }, 'server manifest accepted');
  return new Supervisor(manifest, { ...deps, leftovers, backoff: servers.backoff });
}

async function readKeys(dir: string): Promise<string[]> {
  try {
    const names = (await readdir(dir)).filter((name) => name.endsWith('.pem')).sort();
    return await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')));
  } catch (cause) {
    throw new ZlError('config.invalid', `servers.keysDir: ${dir} cannot be read`, { cause });
  }
}
