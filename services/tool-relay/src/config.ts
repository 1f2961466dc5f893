import { hostname } from 'node:os';
import { ZlError } from '@zerolatency/errors';
import { MAX_FRAME_BYTES } from '@zerolatency/frame';
import {
  type ConfigSources,
  configDigest,
  describeConfig,
  type JsonSchema,
  loadConfig,
  parseBytes,
  parseDurationMs,
} from '@zerolatency/service/config';
import { compileRedis } from '@zerolatency/service/redis';
import schema from '../../../contracts/config/tool-relay.schema.json' with { type: 'json' };
import type { RelaySettings } from '../../../contracts/gen/tool-relay.d.ts';

const configSchema: JsonSchema = schema;
/** Names the configuration file, so it is not a setting. */
export const CONFIG_FILE_ENV = 'ZL_RELAY_CONFIG';

/** What a frame about a device holds beside its catalog: head, credential, journal id. */
const OPENED_OVERHEAD_BYTES = 32 * 1024;

export type RelayConfig = ReturnType<typeof compile>;
export type RegistrarConfig = ReturnType<typeof compileRegistrar>;

export type DeviceLimits = RelayConfig['devices'];
export type TenantLimits = RelayConfig['tenants'];
export type LinkLimits = RelayConfig['links'];

/** For either role. Throws config.invalid with everything that is wrong. */
export function readProgramConfig(sources: ConfigSources): RelayConfig | RegistrarConfig {
  const settings = load(sources);
  return settings.role === 'relay' ? compile(settings) : compileRegistrar(settings);
}

export function readRelayConfig(sources: ConfigSources): RelayConfig {
  return compile(load(sources));
}

export function readRegistrarConfig(sources: ConfigSources): RegistrarConfig {
  return compileRegistrar(load(sources));
}

function load(sources: ConfigSources): RelaySettings {
  const spec = { schema: configSchema, envPrefix: 'ZL_RELAY', otherEnv: [CONFIG_FILE_ENV] };
  return loadConfig<RelaySettings>(spec, sources);
}

function compile(settings: RelaySettings) {
  if (settings.registrar !== undefined) {
    const why = 'a program that serves devices must not hold the issuing key; set role: registrar';
    throw new ZlError('config.invalid', `registrar is set, and role is ${settings.role}: ${why}`);
  }
  const { sockets, devices, tenants, links } = settings;
  const compiled = {
    role: 'relay' as const,
    relayId: settings.relayId || hostname(),
    ...compileShared(settings),
    revocations: settings.revocations,
    sockets: {
      ...sockets,
      maxFrameBytes: parseBytes(sockets.maxFrame),
      heartbeatMs: parseDurationMs(sockets.heartbeat),
    },
    devices: {
      ...devices,
      handshakeMs: parseDurationMs(devices.handshake),
      maxCatalogBytes: parseBytes(devices.maxCatalog),
      maxQueueBytes: parseBytes(devices.maxQueue),
      bytesPerSecond: parseBytes(devices.bytesPerSecond),
    },
    tenants: { ...tenants, bytesPerSecond: parseBytes(tenants.bytesPerSecond) },
    links: {
      ...links,
      maxQueueBytes: parseBytes(links.maxQueue),
      bytesPerSecond: parseBytes(links.bytesPerSecond),
    },
    sharding: {
      ...settings.sharding,
      settleMs: parseDurationMs(settings.sharding.settle),
    },
    leaseTtlMs: parseDurationMs(settings.lease.ttl),
    directory: {
      engine: settings.directory.engine,
      redis: compileRedis(settings.directory.redis),
    },
  };
  if (compiled.sharding.width > 0 && compiled.directory.engine !== 'redis') {
    const why = 'the pods of a pool find each other there';
    throw new ZlError('config.invalid', `sharding.width needs directory.engine redis: ${why}`);
  }
  checkSizes(compiled.sockets.maxFrameBytes, compiled.devices.maxCatalogBytes);
  for (const side of ['devices', 'tenants', 'links'] as const) {
    if (compiled[side].bytesPerSecond >= compiled.sockets.maxFrameBytes) continue;
    // Such a frame could never pass.
    throw new ZlError('config.invalid', `${side}.bytesPerSecond is less than sockets.maxFrame`);
  }
  return compiled;
}

function compileRegistrar(settings: RelaySettings) {
  const { registrar, enrolment } = settings;
  if (settings.role !== 'registrar' || registrar === undefined) {
    throw new ZlError('config.invalid', 'role: registrar needs the settings below registrar');
  }
  if (enrolment.issuer === '') {
    throw new ZlError('config.invalid', 'role: registrar needs enrolment.issuer');
  }
  const { enrol, issuerKeyFile, issuerVault } = registrar;
  if ((issuerKeyFile === undefined) === (issuerVault === undefined)) {
    const why = 'one of registrar.issuerKeyFile and registrar.issuerVault holds the issuing key';
    throw new ZlError('config.invalid', `${why}; set one of them`);
  }
  return {
    role: 'registrar' as const,
    ...compileShared(settings),
    registrar: {
      ...registrar,
      issuerVault: issuerVault && {
        ...issuerVault,
        timeoutMs: parseDurationMs(issuerVault.timeout),
      },
      credentialLifetimeMs: parseDurationMs(registrar.credentialLifetime),
      codes: { ...registrar.codes, redis: compileRedis(registrar.codes.redis) },
      enrol: {
        ...enrol,
        advertisedUrl: originOf(enrol.advertisedUrl),
        connections: compileConnections(enrol.connections),
      },
    },
  };
}

/** As a bridge writes it, whose proof names it. Empty stays empty. */
function originOf(url: string): string {
  if (url === '') return '';
  if (URL.canParse(url)) return new URL(url).origin;
  throw new ZlError('config.invalid', `registrar.enrol.advertisedUrl ${url} is not a URL`);
}

function compileShared(settings: RelaySettings) {
  const { tls, rpc, admin, enrolment, log, errors, drain } = settings;
  return {
    tls,
    rpc: { ...rpc, connections: compileConnections(rpc.connections) },
    admin,
    enrolment,
    log,
    errors,
    drain: {
      closeAfterMs: parseDurationMs(drain.closeAfter),
      devicesPerSecond: drain.devicesPerSecond,
      deadlineMs: parseDurationMs(drain.deadline),
    },
    digest: configDigest(settings),
    printable: describeConfig(settings, configSchema),
  };
}

function compileConnections({
  handshake,
  idle,
  stalled,
  ...connections
}: RelaySettings['rpc']['connections']) {
  return {
    ...connections,
    handshakeMs: parseDurationMs(handshake),
    idleMs: parseDurationMs(idle),
    stalledMs: parseDurationMs(stalled),
  };
}

function checkSizes(maxFrameBytes: number, maxCatalogBytes: number): void {
  if (maxFrameBytes > MAX_FRAME_BYTES) {
    throw new ZlError('config.invalid', `sockets.maxFrame is over ${MAX_FRAME_BYTES} bytes`);
  }
  if (maxCatalogBytes + OPENED_OVERHEAD_BYTES > maxFrameBytes) {
    throw new ZlError('config.invalid', 'devices.maxCatalog does not fit into sockets.maxFrame');
  }
}
