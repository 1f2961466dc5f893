import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Tracer } from '@opentelemetry/api';
import { BundleHolder } from '@zerolatency/policy';
import type { Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import { openFloorFile, watchDocument } from '@zerolatency/signing';
import manifest from '../package.json' with { type: 'json' };
import { serveText } from './adapters/control/serve-text.ts';
import { SqliteJournal } from './adapters/sqlite/journal.ts';
import { openCalls } from './app/open-calls.ts';
import { openConnection } from './app/open-connection.ts';
import { openDevice } from './app/open-device.ts';
import { openServers } from './app/open-servers.ts';
import type { BridgeConfig } from './config.ts';
import { BridgeMetrics } from './metrics.ts';
import { type BridgeStatus, statusOf } from './status.ts';

const VERSION = manifest.version;

export interface BridgeDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly tracer: Tracer;
  /** Called each time a relay welcomes the device. */
  readonly onLive?: (status: BridgeStatus) => void;
}

interface Metered {
  readonly metrics: BridgeMetrics;
}

export interface Bridge {
  readonly controlSocket: string;
  status(): BridgeStatus;
}

/** Calls end before their servers, and a call's last outcome is journalled before the journal closes. */
const SHUTDOWN_ORDER = [
  'calls',
  'control',
  'connection',
  'servers',
  'call journal',
  'policy',
  'journal',
];

/**
 * The time of day for deadlines and expiry, which other machines name: a laptop
 * that slept must know it. The monotonic clock is for what must not jump.
 */
const clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimeout: (run: () => void, delayMs: number): unknown => setTimeout(run, delayMs),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout | undefined),
};

/** Resolves once the bridge tries to connect. The drain closes everything it opens. */
export async function startBridge(config: BridgeConfig, deps: BridgeDeps): Promise<Bridge> {
  const metrics = new BridgeMetrics(deps.registry);
  deps.lifecycle.drainOrder(SHUTDOWN_ORDER);
  const onLive = () => deps.onLive?.(status());
  const parts = await openParts(config, { ...deps, metrics, onLive });
  const { device, journal, calls, servers, connection, policy } = parts;
  const { supervisor } = servers;
  const status = () =>
    statusOf({
      version: VERSION,
      configDigest: config.digest,
      device: { id: device.id, tenant: device.tenant },
      connection: connection.state,
      manifest: servers.manifest(),
      servers: supervisor.servers,
      leaving: supervisor.leaving,
      journal: { id: journal.id, running: calls.running },
      policy: policy.current(Date.now()),
    });
  const controlSocket = join(config.stateDir, 'control.sock');
  const texts = await Promise.all([
    serveText(controlSocket, () => `${JSON.stringify(status())}\n`),
    serveText(join(config.stateDir, 'metrics.sock'), () => deps.registry.metrics()),
  ]);
  deps.lifecycle.onDrain('control', async () => {
    await Promise.all(texts.map((text) => text.close()));
  });
  deps.lifecycle.onDrain('calls', (deadline) => calls.drain(deadline));
  await servers.start();
  connection.start();
  return { controlSocket, status };
}

async function openParts(
  config: BridgeConfig,
  deps: Omit<BridgeDeps, 'onLive'> & Metered & { readonly onLive: () => void },
) {
  const { lifecycle, log, metrics, tracer, onLive } = deps;
  const journal = openJournal(config, deps);
  const device = await openDevice(config.device);
  const policy = await openPolicy(config, deps);
  const servers = openServers(config, {
    log,
    environment: deps.env,
    version: VERSION,
    onRestart: (server) => metrics.serverRestarted(server),
    onCatalog: (catalog) => {
      metrics.serversChanged(servers.supervisor.servers);
      connection.announce(catalog);
    },
  });
  const { calls, close: closeCalls } = openCalls(config.calls, {
    ...{ log, clock, metrics, tracer, journal, device, policy },
    servers: servers.supervisor,
    send: (frame) => connection.send(frame),
    onFatal: (error) => {
      log.error({ err: error }, 'an outcome can be neither journalled nor sealed');
      void lifecycle.shutdown({ reason: 'calls cannot go on', deadlineMs: 0, error });
    },
  });
  lifecycle.onDrain('call journal', async () => closeCalls());
  lifecycle.onDrain('servers', (deadline) => servers.stop(deadline));
  const { connection, close } = await openConnection(config, {
    ...{ log, clock, metrics, journal, device, calls, onLive },
    servers: servers.supervisor,
    bridgeVersion: VERSION,
  });
  lifecycle.onDrain('connection', close);
  return { journal, device, policy, servers, calls, connection };
}

/** Opened first: its lock keeps a second bridge out of the directory. */
function openJournal(
  { stateDir }: BridgeConfig,
  { lifecycle, metrics }: Pick<BridgeDeps, 'lifecycle'> & Metered,
): SqliteJournal {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const journal = new SqliteJournal(join(stateDir, 'journal.db'), {
    wrote: (durable, seconds) => metrics.journalWrote(durable, seconds),
  });
  metrics.journal(journal);
  lifecycle.onDrain('journal', async () => journal.close());
  return journal;
}

async function openPolicy(
  { policy, stateDir }: BridgeConfig,
  deps: Pick<BridgeDeps, 'lifecycle' | 'log'> & Metered,
) {
  const { lifecycle, log, metrics } = deps;
  const holder = new BundleHolder({ floor: openFloorFile(join(stateDir, 'policy-floor.json')) });
  const watch = await watchDocument({
    holder,
    file: policy.bundleFile,
    keysDir: policy.keysDir,
    log,
    onRefused: ({ reason }) => metrics.bundleRefused(reason),
  });
  metrics.bundle((nowMs) => holder.current(nowMs));
  lifecycle.onDrain('policy', async () => watch.close());
  return holder;
}
