import { type ComponentCheck, type Lifecycle, serveAdmin } from '@zerolatency/service/lifecycle';
import {
  createTracing,
  type Logger,
  type Registry,
  type Tracing,
} from '@zerolatency/service/telemetry';
import { type TlsWatch, watchTls } from '@zerolatency/service/tls';
import manifest from '../package.json' with { type: 'json' };
import { openHelloVerifier } from './adapters/jwks/hello-verifier.ts';
import { MemoryDirectory } from './adapters/memory-directory/memory-directory.ts';
import { createHostVerifier } from './adapters/peer-token/host-verifier.ts';
import { RelaySockets } from './app/relay-sockets.ts';
import type { RelayConfig } from './config.ts';
import { LeaseKeeper } from './directory/lease-keeper.ts';
import { exposeCertificate, RelayMeters } from './metrics.ts';
import { type Clock, type Directory, endpointPaths } from './ports.ts';
import { Devices } from './routing/devices.ts';
import { serveRpc } from './rpc/server.ts';

export const SERVICE = 'tool-relay';
export const VERSION = manifest.version;

export interface RelayDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  /** Sees every span that ends. */
  readonly onSpan?: Parameters<typeof createTracing>[0]['onSpan'];
}

export interface RelayAddresses {
  readonly relayId: string;
  /** Without a path: /v1/device and /v1/link follow. */
  readonly socketUrl: string;
  readonly rpcUrl: string;
  readonly adminUrl: string;
}

const clock: Clock = { monotonicMs: () => performance.now(), unixMs: () => Date.now() };

/** Resolves when devices and hosts can connect. Everything it opens is closed by the lifecycle's drain. */
export async function startRelay(config: RelayConfig, deps: RelayDeps): Promise<RelayAddresses> {
  const { lifecycle, log, registry } = deps;
  // Drain hooks run in reverse: what is opened first is closed last.
  const tracing = openTracing(config, deps);
  const meters = new RelayMeters(registry);
  const tls = watchTls(config.tls, { log });
  lifecycle.onDrain('certificates', async () => tls.close());
  exposeCertificate(registry, () => tls.current().cert);

  let socketUrl = config.sockets.advertisedUrl;
  const linkUrl = () => `${socketUrl}${endpointPaths.link}`;
  const directory = new MemoryDirectory({
    relayId: config.relayId,
    linkUrl,
    ttlMs: config.leaseTtlMs,
    clock,
  });
  const devices = new Devices(config.tenants, clock.monotonicMs);
  const sockets = await createSockets(config, deps, { tls, directory, devices, meters });
  meters.observe({
    deviceSockets: () => sockets.deviceSockets,
    liveDevices: () => devices.size,
    links: () => sockets.links,
    handles: () => sockets.handles,
    queuedBytes: (to) => sockets.queuedBytes(to),
  });
  const admin = await serveAdmin({
    ...config.admin,
    lifecycle,
    registry: meters.source(),
    service: SERVICE,
    version: VERSION,
    configDigest: config.digest,
    components: components(sockets, devices, directory),
  });
  lifecycle.onDrain('admin', () => admin.close());
  const { host, port, allowedClients } = config.rpc;
  const { tracer } = tracing;
  const rpc = await serveRpc({
    host,
    port,
    allowedClients,
    tls,
    directory,
    serving: lifecycle,
    registry,
    tracer,
  });
  lifecycle.onDrain('rpc', (deadline) => rpc.close(deadline));
  keepLeases(config, deps, { directory, devices });
  const socketPort = await sockets.open();
  lifecycle.onDrain('sockets', (deadline) => sockets.drain(deadline));
  tls.subscribe(() => sockets.reloadTls());
  if (socketUrl === '') socketUrl = `wss://localhost:${socketPort}`;
  const { relayId } = config;
  return { relayId, socketUrl, rpcUrl: rpc.url, adminUrl: admin.url };
}

function openTracing({ otlpUrl }: RelayConfig, { lifecycle, onSpan }: RelayDeps): Tracing {
  const tracing = createTracing({
    service: SERVICE,
    version: VERSION,
    ...(otlpUrl === '' ? {} : { otlpUrl }),
    ...(onSpan === undefined ? {} : { onSpan }),
  });
  lifecycle.onDrain('tracing', () => tracing.shutdown());
  return tracing;
}

interface SocketParts {
  readonly tls: TlsWatch;
  readonly directory: Directory;
  readonly devices: Devices;
  readonly meters: RelayMeters;
}

async function createSockets(config: RelayConfig, deps: RelayDeps, parts: SocketParts) {
  const { tls, directory, devices, meters: metrics } = parts;
  const { relayId } = config;
  const { log, lifecycle } = deps;
  const helloVerifier = await openHelloVerifier({ ...config.enrolment, relayId, clock, log });
  lifecycle.onDrain('enrolment keys', async () => helloVerifier.close());
  return new RelaySockets({
    config,
    devices,
    directory,
    clock,
    metrics,
    log,
    helloVerifier,
    hostVerifier: createHostVerifier({ relayId, tls, clock }),
    tls: { ...config.tls, current: () => tls.current() },
  });
}

function keepLeases(
  config: RelayConfig,
  { lifecycle, log }: RelayDeps,
  { directory, devices }: { directory: Directory; devices: Devices },
): void {
  const keeper = new LeaseKeeper({ directory, holders: devices, ttlMs: config.leaseTtlMs, log });
  const timer = setInterval(() => void keeper.renewAll(), keeper.intervalMs);
  timer.unref();
  lifecycle.onDrain('leases', async () => clearInterval(timer));
}

function components(
  sockets: RelaySockets,
  devices: Devices,
  directory: Directory,
): Record<string, ComponentCheck> {
  return {
    sockets: async () => ({
      status: sockets.engineName === 'closed' ? 'down' : 'ok',
      detail: `${sockets.engineName}, ${devices.size} devices, ${sockets.links} links`,
    }),
    directory: async () => {
      await directory.locate({ tenant: '-', deviceId: '-' });
      return { status: 'ok', detail: 'memory' };
    },
  };
}
