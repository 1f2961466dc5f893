import { join } from 'node:path';
import { SERVER_MANIFEST } from '@zerolatency/manifest';
import {
  DocumentHolder,
  type DocumentWatch,
  openFloorFile,
  watchDocument,
} from '@zerolatency/signing';
import { serverLauncher } from '../adapters/processes/launch-server.ts';
import { Leftovers } from '../adapters/processes/leftovers.ts';
import type { BridgeConfig } from '../config.ts';
import type { Log } from '../ports.ts';
import { Supervisor, type SupervisorDeps } from '../servers/supervisor.ts';
import type { ManifestState } from '../status.ts';

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
  const holder = new DocumentHolder(SERVER_MANIFEST, {
    floor: openFloorFile(join(stateDir, 'manifest-floor.json')),
  });
  holder.onChange((now) => supervisor.follow(now.state === 'none' ? [] : now.content.servers));
  let watch: DocumentWatch | undefined;
  return {
    supervisor,
    manifest(): ManifestState {
      const now = holder.current(Date.now());
      if (now.state !== 'none')
        return { state: 'active', manifestId: now.name, digest: now.digest };
      return { state: 'none', why: watch?.refusal()?.message ?? 'it has not been read yet' };
    },
    /** Resolves after the first look at the manifest, whatever it found. */
    async start() {
      const { manifestFile: file, keysDir } = servers;
      watch = await watchDocument({ holder, file, keysDir, log: deps.log });
    },
    async stop(deadline: AbortSignal) {
      watch?.close();
      await supervisor.stop(deadline);
    },
  };
}
