import { join } from 'node:path';
import { openFloorFile } from '@zerolatency/policy';
import { serverLauncher } from '../adapters/processes/launch-server.ts';
import { Leftovers } from '../adapters/processes/leftovers.ts';
import type { BridgeConfig } from '../config.ts';
import type { Log } from '../ports.ts';
import { Supervisor, type SupervisorDeps } from '../servers/supervisor.ts';
import {
  type ManifestState,
  type ManifestWatch,
  watchManifest,
} from '../servers/watch-manifest.ts';

/** The servers of the signed manifest, whichever is in force. None runs before the start. */
export function openServers(
  { servers, stateDir }: Pick<BridgeConfig, 'servers' | 'stateDir'>,
  deps: Omit<SupervisorDeps, 'backoff' | 'launch'> & {
    readonly log: Log;
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly version: string;
  },
) {
  const leftovers = new Leftovers(join(stateDir, 'servers'));
  for (const server of leftovers.end()) {
    deps.log.warn({ server }, 'a server that an earlier bridge left behind was killed');
  }
  const supervisor = new Supervisor({
    ...deps,
    launch: serverLauncher({ ...deps, leftovers }),
    backoff: servers.backoff,
  });
  let watch: ManifestWatch | undefined;
  return {
    supervisor,
    manifest: (): ManifestState =>
      watch?.current() ?? { state: 'none', why: 'it was not looked at yet' },
    /** Resolves after the first look at the manifest, whatever it found. */
    async start() {
      watch = await watchManifest({
        manifestFile: servers.manifestFile,
        keysDir: servers.keysDir,
        floor: openFloorFile(join(stateDir, 'manifest-floor.json')),
        log: deps.log,
        onManifest: (manifest) => supervisor.follow(manifest?.servers ?? []),
      });
    },
    async stop(deadline: AbortSignal) {
      watch?.close();
      await supervisor.stop(deadline);
    },
  };
}
