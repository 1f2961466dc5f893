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
import type { BackoffRange } from './backoff.ts';

const configSchema: JsonSchema = schema;
/** Names the configuration file, so it is no setting in it. */
export const CONFIG_FILE_ENV = 'ZL_BRIDGE_CONFIG';

interface Backoffs {
  readonly minBackoff: string;
  readonly maxBackoff: string;
}

/** As the schema leaves it: complete, with durations and sizes still as people write them. */
interface LoadedConfig {
  readonly stateDir: string;
  readonly relay: Backoffs & {
    readonly urls: readonly string[];
    readonly caFile: string;
    readonly handshake: string;
    readonly maxBuffered: string;
  };
  readonly device: { readonly credentialFile: string; readonly keyFile: string };
  readonly policy: { readonly bundleFile: string; readonly keysDir: string };
  readonly servers: Backoffs & { readonly manifestFile: string; readonly keysDir: string };
  readonly calls: {
    readonly maxRunning: number;
    readonly maxEntries: number;
    readonly maxHeld: string;
    readonly maxResult: string;
  };
  readonly log: { readonly level: string };
  readonly telemetry: { readonly otlpUrl: string };
  readonly drain: { readonly deadline: string };
}

/** As the bridge uses it. */
export interface BridgeConfig
  extends Pick<LoadedConfig, 'stateDir' | 'device' | 'policy' | 'log' | 'telemetry'> {
  readonly relay: {
    readonly urls: readonly string[];
    readonly caFile: string;
    readonly handshakeMs: number;
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
  readonly drainDeadlineMs: number;
  readonly digest: string;
  /** Effective configuration as text, without secrets. */
  readonly printable: string;
}

export function loadBridgeConfig(sources: ConfigSources): BridgeConfig {
  const spec = { schema: configSchema, envPrefix: 'ZL_BRIDGE', otherEnv: [CONFIG_FILE_ENV] };
  return compile(loadConfig<LoadedConfig>(spec, sources));
}

function compile(loaded: LoadedConfig): BridgeConfig {
  const { stateDir, device, policy, log, telemetry, relay, servers, calls } = loaded;
  return {
    stateDir,
    device,
    policy,
    log,
    telemetry,
    relay: {
      urls: relay.urls,
      caFile: relay.caFile,
      handshakeMs: parseDurationMs(relay.handshake),
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
    drainDeadlineMs: parseDurationMs(loaded.drain.deadline),
    digest: configDigest(loaded),
    printable: describeConfig(loaded, configSchema),
  };
}

function rangeOf({ minBackoff, maxBackoff }: Backoffs): BackoffRange {
  return { minMs: parseDurationMs(minBackoff), maxMs: parseDurationMs(maxBackoff) };
}
