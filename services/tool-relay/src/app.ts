import type { Tracer } from '@opentelemetry/api';
import { publishCatalogueAt } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import { RelayService } from '@zerolatency/proto/relay';
import { RegistrarClient, type Revocations, watchRevocations } from '@zerolatency/revocations';
import { counted } from '@zerolatency/service/counted';
import {
  type ComponentCheck,
  type ComponentStatus,
  type Lifecycle,
  serveAdmin,
} from '@zerolatency/service/lifecycle';
import { exposeListener } from '@zerolatency/service/rpc';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import { exposeCertificate, type TlsWatch, watchTls } from '@zerolatency/service/tls';
import manifest from '../package.json' with { type: 'json' };
import { openHelloVerifier } from './adapters/jwks/hello-verifier.ts';
import { ListedBalancers } from './adapters/listed-balancers/listed-balancers.ts';
import { RpcPods } from './adapters/other-pods/other-pods.ts';
import { createHostVerifier } from './adapters/peer-token/host-verifier.ts';
import { registrarRenewer } from './adapters/registrar/registrar-renewer.ts';
import { openUwsEngine } from './adapters/uws/engine.ts';
import { openWsEngine } from './adapters/ws/engine.ts';
import { openDirectory } from './app/open-directory.ts';
import type { RelayConfig } from './config.ts';
import { Catalogs } from './directory/catalogs.ts';
import type { Directory, PodAddress } from './directory/directory.ts';
import { LeaseKeeper } from './directory/lease-keeper.ts';
import { exposeRevocations, RelayMeters, revocationRefusals } from './metrics.ts';
import type { Clock } from './ports.ts';
import { LiveDevices } from './routing/live-devices.ts';
import { relayService } from './rpc/relay-service.ts';
import { offer, serveRpc } from './rpc/server.ts';
import type { HelloVerifier } from './sessions/hello.ts';
import { type RevocationCheck, RevocationSweep } from './sessions/revocation-sweep.ts';
import type { Renewer } from './sessions/session-renewal.ts';
import { type PodRegister, Sharding } from './sharding/sharding.ts';
import { NO_SHARDS, type Shards } from './sharding/shards.ts';
import { capacityOf, type Machine } from './sockets/capacity.ts';
import { RelaySockets } from './sockets/relay-sockets.ts';
import { ENDPOINT_PATHS, type OpenSocketEngine } from './sockets/socket-engine.ts';

const SERVICE = 'tool-relay';
const VERSION = manifest.version;

export interface RelayDeps {
  readonly machine: Machine;
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly tracer: Tracer;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface RelayAddresses {
  readonly relayId: string;
  /** Without the path of an endpoint. */
  readonly socketUrl: string;
  readonly rpcUrl: string;
  readonly adminUrl: string;
}

/** What a shutdown closes, first to last: devices and hosts move while the rest still works. */
const SHUTDOWN_ORDER = [
  'sharding',
  'sockets',
  'leases',
  'rpc',
  'other pods',
  'directory',
  'admin',
  'revocations',
  'enrolment keys',
  'certificates',
];

const clock: Clock = { monotonicMs: () => performance.now(), unixMs: () => Date.now() };

/** Resolves when devices and hosts can connect. The lifecycle closes everything it opens. */
export async function startRelay(config: RelayConfig, deps: RelayDeps): Promise<RelayAddresses> {
  const { lifecycle, log, registry, tracer } = deps;
  lifecycle.drainOrder(SHUTDOWN_ORDER);
  publishCatalogueAt(config.errors?.catalogueUrl);
  const meters = new RelayMeters(registry);
  const tls = watchTls(config.tls, { log });
  lifecycle.onDrain('certificates', async () => tls.close());
  exposeCertificate(registry, () => tls.current().cert);

  const { relayId } = config;
  let socketUrl = config.sockets.advertisedUrl;
  let rpcUrl = config.rpc.advertisedUrl;
  const pod = () => ({ relayId, linkUrl: `${socketUrl}${ENDPOINT_PATHS.link}`, rpcUrl });
  const devices = new LiveDevices(config.tenants, clock.monotonicMs);
  const ownLease = (device: DeviceIdentity) => devices.find(device)?.lease;
  const opened = await openDirectory(config, {
    ...{ pod, ownLease, clock, meters, log, env: deps.env },
    onRecovered: () => void keeper.renewAll(),
    onDisplaced: (error) =>
      void lifecycle.shutdown({
        reason: 'another pod has this relay id',
        deadlineMs: config.drain.deadlineMs,
        error,
      }),
  });
  const { directory } = opened;
  lifecycle.onDrain('directory', () => opened.close());
  const keeper = new LeaseKeeper({ directory, holders: devices, ttlMs: config.leaseTtlMs, log });
  const helloVerifier = await openHelloVerifier({
    ...config.enrolment,
    ...{ relayId: config.relayId, clock, log },
  });
  lifecycle.onDrain('enrolment keys', async () => helloVerifier.close());
  const registrar = registrarOf(config.revocations, tls);
  const { revocations, checks } = await openRevocations(config.revocations, {
    ...{ ...deps, devices, registrar },
  });
  const renewer =
    registrar && registrarRenewer({ client: registrar, verifier: helloVerifier, clock });
  const sharding = openSharding(config, { pods: opened.pods, pod, log });
  const shards = sharding?.shards ?? NO_SHARDS;
  const parts = { tls, directory, devices, meters, helloVerifier, revocations, renewer, shards };
  const sockets = createSockets(config, deps, parts);
  meters.observe({
    deviceSockets: () => sockets.deviceSockets,
    unproved: () => sockets.unproved,
    isAccepting: () => sockets.isAccepting,
    liveDevices: () => devices.size,
    liveDevicesBy: (transport) => devices.sizeBy(transport),
    links: () => sockets.links,
    handles: () => sockets.handles,
    queuedBytes: (to) => sockets.queuedBytes(to),
    isDirectoryDegraded: () => opened.isDegraded(),
    pods: () => sharding?.pods ?? 0,
    podsGeneration: () => sharding?.generation ?? 0,
  });
  let rpcStatus: ComponentCheck = async () => ({ status: 'ok', detail: 'not open yet' });
  const admin = await serveAdmin({
    ...config.admin,
    lifecycle,
    registry,
    log,
    service: SERVICE,
    version: VERSION,
    configDigest: config.digest,
    components: {
      sockets: async () => componentOf(sockets, devices),
      directory: opened.component,
      ...(sharding && { sharding: sharding.component }),
      'enrolment keys': async () => helloVerifier.status(),
      ...checks,
      certificate: async () => tls.status(),
      rpc: () => rpcStatus(),
    },
  });
  lifecycle.onDrain('admin', () => admin.close());
  const otherPods = new RpcPods(tls);
  lifecycle.onDrain('other pods', async () => otherPods.close());
  const catalogs = new Catalogs({ ...{ relayId, log }, own: catalogIn(devices), pods: otherPods });
  const callers = { names: config.rpc.allowedClients, setting: 'rpc.allowedClients' };
  const rpc = await serveRpc({
    ...config.rpc,
    tls,
    requireClient: true,
    services: [
      offer(RelayService, relayService({ directory, catalogs, revocations }), () => callers),
    ],
    serving: lifecycle,
    registry,
    tracer,
    log,
  });
  rpcStatus = exposeListener(registry, rpc);
  lifecycle.onDrain('rpc', (deadline) => rpc.close(deadline));
  if (rpcUrl === '') rpcUrl = `https://localhost:${rpc.port}`;
  await opened.claim();
  keeper.start();
  lifecycle.onDrain('leases', async () => keeper.stop());
  const socketPort = await sockets.open();
  lifecycle.onDrain('sockets', (deadline) => sockets.drain(deadline));
  tls.subscribe(() => sockets.reloadTls());
  if (socketUrl === '') socketUrl = `wss://localhost:${socketPort}`;
  await sharding?.open(() => sockets.deviceSessions);
  lifecycle.onDrain('sharding', async () => sharding?.close());
  return { relayId, socketUrl, rpcUrl: rpc.url, adminUrl: admin.url };
}

interface PoolParts {
  readonly pods: PodRegister | undefined;
  readonly pod: () => PodAddress;
  readonly log: Logger;
}

function openSharding(
  { sharding: { width, movesPerSecond, settleMs }, sockets }: RelayConfig,
  { pods, pod, log }: PoolParts,
): Sharding | undefined {
  if (width === 0 || pods === undefined) return undefined;
  const { deviceUrl: origin } = sockets;
  const deviceUrl = origin === '' ? '' : `${origin}${ENDPOINT_PATHS.device}`;
  return new Sharding({
    own: () => ({ ...pod(), deviceUrl }),
    register: pods,
    ...{ width, movesPerSecond, settleMs, log },
    monotonicMs: clock.monotonicMs,
  });
}

function registrarOf(files: RelayConfig['revocations'], tls: TlsWatch) {
  const url = files?.registrarUrl;
  return url === undefined ? undefined : new RegistrarClient({ url, tls });
}

const NOBODY_REVOKED: AppliedRevocations = { fault: () => undefined, absence: () => undefined };

type AppliedRevocations = Pick<Revocations, 'fault' | 'absence'>;

/** Without the setting no device is ever revoked here. */
async function openRevocations(
  files: RelayConfig['revocations'],
  {
    lifecycle,
    log,
    registry,
    devices,
    registrar,
  }: RelayDeps & { readonly devices: LiveDevices; readonly registrar: RegistrarClient | undefined },
): Promise<{ revocations: AppliedRevocations; checks: Record<string, ComponentCheck> }> {
  if (files === undefined) return { revocations: NOBODY_REVOKED, checks: {} };
  const onRefused = revocationRefusals(registry);
  const revocations = await watchRevocations({ ...files, registrar, log, onRefused });
  exposeRevocations(registry, () => revocations.figures());
  const sweep = new RevocationSweep({ devices, revocations });
  let goOn = () => {};
  revocations.onChange((isInForce) => {
    goOn();
    goOn = isInForce ? () => {} : lifecycle.pause('there is no valid revocation list');
    if (isInForce) sweep.start();
  });
  lifecycle.onDrain('revocations', async () => {
    sweep.stop();
    revocations.close();
    registrar?.close();
  });
  return { revocations, checks: { revocations: async () => revocations.status() } };
}

function catalogIn(devices: LiveDevices) {
  return (device: DeviceIdentity) => {
    const live = devices.find(device);
    return live && { digest: live.lease.catalogDigest, catalog: live.catalog };
  };
}

/** uWebSockets.js does not hold against hostile devices (ADR 4). */
function chooseEngine(wanted: 'auto' | 'uws' | 'ws'): OpenSocketEngine {
  return wanted === 'uws' ? openUwsEngine : openWsEngine;
}

interface SocketParts {
  readonly tls: TlsWatch;
  readonly directory: Directory;
  readonly devices: LiveDevices;
  readonly meters: RelayMeters;
  readonly helloVerifier: HelloVerifier;
  readonly revocations: RevocationCheck;
  readonly renewer: Renewer | undefined;
  readonly shards: Shards;
}

function createSockets(config: RelayConfig, deps: RelayDeps, parts: SocketParts) {
  const { tls, directory, devices, helloVerifier, revocations, renewer, shards } = parts;
  const { relayId } = config;
  const { log } = deps;
  return new RelaySockets({
    config,
    capacity: capacityOf(config, deps.machine),
    balancers: new ListedBalancers(config.sockets),
    openEngine: chooseEngine(config.sockets.engine),
    devices,
    directory,
    clock,
    metrics: parts.meters,
    log,
    helloVerifier,
    revocations,
    renewer,
    shards,
    hostVerifier: createHostVerifier({ relayId, tls, clock }),
    tls: { ...config.tls, current: () => tls.current() },
  });
}

function componentOf(sockets: RelaySockets, devices: LiveDevices): ComponentStatus {
  return {
    status: statusOf(sockets),
    detail: [
      sockets.engineName,
      counted(devices.size, 'device'),
      counted(sockets.links, 'link'),
      ...(sockets.isAccepting ? [] : ['file descriptors are used up, so none are accepted']),
    ].join(', '),
  };
}

function statusOf({ engineName, isAccepting }: RelaySockets): 'ok' | 'degraded' | 'down' {
  if (engineName === 'closed') return 'down';
  return isAccepting ? 'ok' : 'degraded';
}
