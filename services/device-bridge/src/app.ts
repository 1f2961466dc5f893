import { join } from 'node:path';
import type { Tracer } from '@opentelemetry/api';
import { ZlError } from '@zerolatency/errors';
import { SERVER_MANIFEST, serversOf } from '@zerolatency/manifest';
import { BundleHolder } from '@zerolatency/policy';
import { makeFolder, writeAtomically } from '@zerolatency/service/files';
import type { Lifecycle } from '@zerolatency/service/lifecycle';
import { steadyClock } from '@zerolatency/service/steady-clock';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import {
  DocumentHolder,
  type DocumentWatch,
  openFloorFile,
  signerFromPem,
  watchDocument,
} from '@zerolatency/signing';
import manifest from '../package.json' with { type: 'json' };

import { serveText } from './adapters/control/serve-text.ts';
import { readCredential, readDeviceKey } from './adapters/credential/read-credential.ts';
import type { FileJournal } from './adapters/journal/journal.ts';
import { openJournal } from './adapters/journal/open-journal.ts';
import { Containments } from './adapters/processes/containments.ts';
import { OWN_CODE, serverLauncher } from './adapters/processes/launch-server.ts';
import { Leftovers } from './adapters/processes/leftovers.ts';
import { ownCgroup } from './adapters/processes/process-tree.ts';
import { openCalls } from './app/open-calls.ts';
import type { BridgeConfig } from './config.ts';
import { BridgeMetrics } from './metrics.ts';
import type { Log } from './ports.ts';
import { Supervisor, type SupervisorDeps } from './servers/supervisor.ts';
import { type BridgeStatus, type ManifestState, statusOf } from './status.ts';

const VERSION = manifest.version;
const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin';

export interface BridgeDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly tracer: Tracer;
  /** Called each time a relay welcomes the device. */
  readonly onLive?: (status: BridgeStatus) => void;
}

/** The journal remembers which floors this installation has. */
interface Journalled {
  readonly journal: Pick<FileJournal, 'mark'>;
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

/** A host that finds the device should find its tools too. A slow server is announced later. */
const FIRST_CATALOG_MS = 2_000;

/**
 * The time of day is for expiry, which other machines name; the steady clock for deadlines, which
 * callers state by it; the monotonic one for what the machine's sleep must not end.
 */
const clock = {
  nowMs: () => Date.now(),
  steadyMs: steadyClock(),
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
  const { device, journal, calls, servers, connection, renewal, policy, policyRefusal, witness } =
    parts;
  const { supervisor } = servers;
  const status = () =>
    statusOf({
      version: VERSION,
      configDigest: config.digest,
      device: { id: device.id, tenant: device.tenant },
      credential: { expiresAt: device.expiresAt(), ...renewalStatus(renewal.failure) },
      isDraining: deps.lifecycle.state === 'draining',
      connection: connection.state,
      manifest: servers.manifest(),
      servers: supervisor.servers,
      leaving: supervisor.leaving,
      journal: { id: journal.id, running: calls.running, failure: journal.failure },
      policy: policy.current(Date.now()),
      policyRefusal: policyRefusal(),
      witness: witness?.status(),
    });
  const controlSocket = join(config.stateDir, 'control.sock');
  const texts = await Promise.all([
    serveText(controlSocket, () => `${JSON.stringify(status())}\n`),
    serveText(join(config.stateDir, 'metrics.sock'), () => deps.registry.metrics()),
  ]);
  deps.lifecycle.onDrain('control', async () => {
    await Promise.all(texts.map((text) => text.close()));
  });
  await servers.start();
  await supervisor.started(FIRST_CATALOG_MS);
  connection.start();
  return { controlSocket, status };
}

function renewalStatus(failure: ZlError | undefined) {
  return failure && { errorId: failure.id, why: `renewal failed: ${failure.message}` };
}

async function openParts(
  config: BridgeConfig,
  deps: Omit<BridgeDeps, 'onLive'> & Metered & { readonly onLive: () => void },
) {
  const { lifecycle, log, metrics, tracer, onLive } = deps;
  await makeFolder(config.stateDir);
  const journal = await openCallJournal(config, deps);
  const device = await openDevice(config.device);
  const { policy, policyRefusal } = await openPolicy(config, { ...deps, journal });
  const servers = await openServers(config, {
    log,
    journal,
    environment: deps.env,
    version: VERSION,
    onRestart: (server) => metrics.serverRestarted(server),
    onCatalog: (catalog) => {
      metrics.serversChanged(servers.supervisor.servers);
      connection.announce(catalog);
    },
  });
  lifecycle.onDrain('servers', (deadline) => servers.stop(deadline));
  const { calls, connection, renewal, witness } = await openCalls(config, {
    ...{ lifecycle, log, clock, metrics, tracer, journal, device, policy, onLive },
    servers: servers.supervisor,
    bridgeVersion: VERSION,
    env: deps.env,
  });
  return { journal, device, policy, policyRefusal, servers, calls, connection, renewal, witness };
}

/** Opened first: its lock keeps a second bridge out of the directory. */
async function openCallJournal(
  { stateDir }: BridgeConfig,
  { lifecycle, log, metrics }: Pick<BridgeDeps, 'lifecycle' | 'log'> & Metered,
): Promise<FileJournal> {
  let isFailing = false;
  const journal = await openJournal(stateDir, {
    wrote(durable, seconds) {
      metrics.journalWrote(durable, seconds);
      if (isFailing) log.info({}, 'the journal can be written again');
      isFailing = false;
    },
    failed(error) {
      metrics.journalFailed();
      if (!isFailing) log.error(fieldsOf(error), error.message);
      isFailing = true;
    },
    corrupt: (error) => log.error(fieldsOf(error), error.message),
    torn: (bytes) => log.warn({ bytes }, 'the end of the journal was not whole and is cut off'),
  });
  metrics.journal(journal);
  lifecycle.onDrain('journal', () => journal.close());
  return journal;
}

function fieldsOf({ id: errorId, help }: ZlError) {
  return { errorId, help };
}

async function openPolicy(
  { policy, stateDir }: BridgeConfig,
  deps: Pick<BridgeDeps, 'lifecycle' | 'log'> & Metered & Journalled,
) {
  const { lifecycle, log, metrics, journal } = deps;
  const floor = openFloorFile(join(stateDir, 'policy-floor.json'), journal.mark('policy_floor'));
  const holder = new BundleHolder({ floor });
  const watch = await watchDocument({
    holder,
    file: policy.bundleFile,
    keysDir: policy.keysDir,
    log,
    onRefused: ({ reason }) => metrics.bundleRefused(reason),
  });
  metrics.bundle((nowMs) => holder.current(nowMs));
  lifecycle.onDrain('policy', async () => watch.close());
  return { policy: holder, policyRefusal: watch.refusal };
}

/** `loadIdentity` reads the credential from its file each time. */
async function openDevice({ credentialFile, keyFile }: BridgeConfig['device']) {
  let latest = await readCredential(credentialFile);
  const { deviceId: id, tenant } = latest;
  const { pem, key } = await readDeviceKey(keyFile);
  const loadIdentity = async () => {
    const now = await readCredential(credentialFile);
    latest = now;
    // Receipts and decisions name the device that the bridge started as.
    if (now.deviceId === id && now.tenant === tenant) return { credential: now.text, key };
    const found = `${now.deviceId} of ${now.tenant}`;
    const message = `${credentialFile} now names ${found}: restart the bridge to become that device`;
    throw new ZlError('device.credential_invalid', message);
  };
  const expiresAt = () =>
    latest.expiresAtMs === undefined ? undefined : new Date(latest.expiresAtMs).toISOString();
  const save = async (credential: string) => {
    await writeAtomically(credentialFile, `${credential}\n`).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ZlError('file.unusable', `the credential cannot be written: ${why}`, { cause });
    });
    latest = await readCredential(credentialFile);
  };
  return { id, tenant, signer: signerFromPem(pem), loadIdentity, save, expiresAt };
}

/** The servers of the signed manifest, whichever is in force. None runs before the start. */
async function openServers(
  {
    servers,
    stateDir,
    device,
    policy,
    calls,
    witness,
  }: Pick<BridgeConfig, 'servers' | 'stateDir' | 'device' | 'policy' | 'calls' | 'witness'>,
  deps: Omit<SupervisorDeps, 'backoff' | 'launch'> &
    Journalled & {
      readonly log: Log;
      readonly environment: Readonly<Record<string, string | undefined>>;
      readonly version: string;
    },
) {
  const leftovers = new Leftovers(join(stateDir, 'servers'));
  for (const server of leftovers.end()) {
    deps.log.warn({ server }, 'a server that an earlier bridge left behind was killed');
  }
  const containments = await Containments.open({
    stateDir,
    hidden: [stateDir, device.keyFile, device.credentialFile],
    guarded: [
      ...[servers.manifestFile, servers.keysDir, policy.bundleFile, policy.keysDir],
      ...(witness === undefined ? [] : [witness.hostKeysDir]),
      ...OWN_CODE,
    ],
    searchPath: deps.environment.PATH ?? DEFAULT_PATH,
    cgroup: await ownCgroup(),
    onLeft: (err) =>
      deps.log.warn({ err }, 'processes that an earlier bridge left are still there'),
  });
  const supervisor = new Supervisor({
    ...deps,
    launch: serverLauncher({
      ...deps,
      maxResultBytes: calls.maxResultBytes,
      containments,
      leftovers,
    }),
    backoff: servers.backoff,
  });
  const holder = new DocumentHolder(SERVER_MANIFEST, {
    floor: openFloorFile(
      join(stateDir, 'manifest-floor.json'),
      deps.journal.mark('manifest_floor'),
    ),
  });
  holder.onChange((now) => supervisor.follow(now.state === 'none' ? [] : serversOf(now.content)));
  let watch: DocumentWatch | undefined;
  return {
    supervisor,
    manifest(): ManifestState {
      const now = holder.current(Date.now());
      const why = watch?.refusal()?.message;
      if (now.state === 'none')
        return why === undefined ? { state: 'starting' } : { state: 'none', why };
      const active = { state: 'active', manifestId: now.name, digest: now.digest } as const;
      return why === undefined ? active : { ...active, why };
    },
    /** Resolves after the first look at the manifest, whatever it found. */
    async start() {
      const { manifestFile: file, keysDir } = servers;
      watch = await watchDocument({ holder, file, keysDir, log: deps.log });
    },
    async stop(deadline: AbortSignal) {
      watch?.close();
      await supervisor.stop(deadline);
      await containments.close();
    },
  };
}
