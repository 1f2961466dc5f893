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
import schema from '../../../contracts/config/tool-relay.schema.json' with { type: 'json' };
import type { RelaySettings } from '../../../contracts/gen/tool-relay.d.ts';

const configSchema: JsonSchema = schema;
/** Names the configuration file, so it is not a setting. */
export const CONFIG_FILE_ENV = 'ZL_RELAY_CONFIG';

/** What a frame about a device holds beside its catalog: head, credential, journal id. */
const OPENED_OVERHEAD_BYTES = 32 * 1024;

export type RelayConfig = ReturnType<typeof compile>;

export type DeviceLimits = RelayConfig['devices'];
export type TenantLimits = RelayConfig['tenants'];
export type LinkLimits = RelayConfig['links'];

/** Throws config.invalid with everything that is wrong. */
export function readRelayConfig(sources: ConfigSources): RelayConfig {
  const spec = { schema: configSchema, envPrefix: 'ZL_RELAY', otherEnv: [CONFIG_FILE_ENV] };
  const settings = loadConfig<RelaySettings>(spec, sources);
  return compile(settings, describeConfig(settings, configSchema));
}

function compile(settings: RelaySettings, printable: string) {
  const { sockets, rpc, devices, tenants, links, drain } = settings;
  const { handshake, idle, stalled, ...connections } = rpc.connections;
  const compiled = {
    relayId: settings.relayId || hostname(),
    tls: settings.tls,
    sockets: {
      ...sockets,
      maxFrameBytes: parseBytes(sockets.maxFrame),
      heartbeatMs: parseDurationMs(sockets.heartbeat),
    },
    rpc: {
      ...rpc,
      connections: {
        ...connections,
        handshakeMs: parseDurationMs(handshake),
        idleMs: parseDurationMs(idle),
        stalledMs: parseDurationMs(stalled),
      },
    },
    admin: settings.admin,
    enrolment: settings.enrolment,
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
    leaseTtlMs: parseDurationMs(settings.lease.ttl),
    log: settings.log,
    errors: settings.errors,
    drain: {
      closeAfterMs: parseDurationMs(drain.closeAfter),
      deadlineMs: parseDurationMs(drain.deadline),
    },
    digest: configDigest(settings),
    printable,
  };
  checkSizes(compiled.sockets.maxFrameBytes, compiled.devices.maxCatalogBytes);
  for (const side of ['devices', 'tenants', 'links'] as const) {
    if (compiled[side].bytesPerSecond >= compiled.sockets.maxFrameBytes) continue;
    // Such a frame could never pass.
    throw new ZlError('config.invalid', `${side}.bytesPerSecond is less than sockets.maxFrame`);
  }
  return compiled;
}

function checkSizes(maxFrameBytes: number, maxCatalogBytes: number): void {
  if (maxFrameBytes > MAX_FRAME_BYTES) {
    throw new ZlError('config.invalid', `sockets.maxFrame is over ${MAX_FRAME_BYTES} bytes`);
  }
  if (maxCatalogBytes + OPENED_OVERHEAD_BYTES > maxFrameBytes) {
    throw new ZlError('config.invalid', 'devices.maxCatalog does not fit into sockets.maxFrame');
  }
}
