import type { BackoffRange } from '@zerolatency/service/backoff';
import {
  type ConfigSources,
  configDigest,
  describeConfig,
  type JsonSchema,
  loadConfig,
  parseBytes,
  parseDurationMs,
} from '@zerolatency/service/config';
import schema from '../../../contracts/config/device-bridge.schema.json' with { type: 'json' };
import type { BridgeSettings } from '../../../contracts/gen/device-bridge.d.ts';

const configSchema: JsonSchema = schema;
/** Names the configuration file, so it is not a setting. */
export const CONFIG_FILE_ENV = 'ZL_BRIDGE_CONFIG';

/** As the bridge uses it. */
export interface BridgeConfig
  extends Pick<BridgeSettings, 'stateDir' | 'device' | 'policy' | 'log' | 'witness'> {
  readonly relay: {
    readonly urls: readonly string[];
    readonly caFile: string;
    readonly proxy: BridgeSettings['relay']['proxy'];
    readonly handshakeMs: number;
    readonly retryWebSocketMs: number;
    readonly maxBufferedBytes: number;
    readonly backoff: BackoffRange;
  };
  readonly servers: {
    readonly manifestFile: string;
    readonly keysDir: string;
    readonly backoff: BackoffRange;
  };
  readonly calls: {
    readonly maxRunning: number;
    readonly maxEntries: number;
    readonly maxHeldBytes: number;
    readonly maxResultBytes: number;
  };
  readonly drain: { readonly deadlineMs: number };
  readonly digest: string;
  /** Effective configuration as text, without secrets. */
  readonly printable: string;
}

export function readBridgeConfig(sources: ConfigSources): BridgeConfig {
  const spec = { schema: configSchema, envPrefix: 'ZL_BRIDGE', otherEnv: [CONFIG_FILE_ENV] };
  return compile(loadConfig<BridgeSettings>(spec, sources));
}

function compile(settings: BridgeSettings): BridgeConfig {
  const { stateDir, device, policy, log, relay, servers, calls, witness } = settings;
  return {
    stateDir,
    device,
    policy,
    log,
    ...(witness && { witness }),
    relay: {
      urls: relay.urls,
      caFile: relay.caFile,
      proxy: relay.proxy,
      handshakeMs: parseDurationMs(relay.handshake),
      retryWebSocketMs: parseDurationMs(relay.retryWebSocket),
      maxBufferedBytes: parseBytes(relay.maxBuffered),
      backoff: rangeOf(relay),
    },
    servers: {
      manifestFile: servers.manifestFile,
      keysDir: servers.keysDir,
      backoff: rangeOf(servers),
    },
    calls: {
      maxRunning: calls.maxRunning,
      maxEntries: calls.maxEntries,
      maxHeldBytes: parseBytes(calls.maxHeld),
      maxResultBytes: parseBytes(calls.maxResult),
    },
    drain: { deadlineMs: parseDurationMs(settings.drain.deadline) },
    digest: configDigest(settings),
    printable: describeConfig(settings, configSchema),
  };
}

function rangeOf({
  minBackoff,
  maxBackoff,
}: BridgeSettings['servers'] | BridgeSettings['relay']): BackoffRange {
  return { minMs: parseDurationMs(minBackoff), maxMs: parseDurationMs(maxBackoff) };
}
