import type { ErrorId } from '@zerolatency/errors';
import { LogThrottle } from '@zerolatency/service/telemetry';
import { type RelayConfig, readRelayConfig } from '../src/config.ts';
import { digestOfCatalog, type Lease } from '../src/directory/directory.ts';
import { Backlog, type Side } from '../src/limits/backlog.ts';
import { Heartbeat } from '../src/limits/heartbeat.ts';
import { LargeHellos } from '../src/limits/hello-allowance.ts';
import type { PauseReason } from '../src/limits/pace.ts';
import type { LostReason } from '../src/routing/relay-frames.ts';
import type { SessionMetrics } from '../src/sessions/device-session.ts';
import type { SessionEnd } from '../src/sessions/disconnect.ts';

/** Records what it counts. */
class CountedMetrics implements SessionMetrics {
  readonly passedFrom: Record<Side, number> = { host: 0, device: 0 };
  readonly ignoredFrom: Record<Side, number> = { host: 0, device: 0 };
  readonly pausedMs: Record<PauseReason, number> = { device: 0, tenant: 0, share: 0 };
  readonly refusals: string[] = [];
  readonly lost: LostReason[] = [];
  readonly ends: SessionEnd[] = [];
  readonly redirects: string[] = [];

  passed(from: Side): void {
    this.passedFrom[from] += 1;
  }

  refused(from: Side, errorId: ErrorId): void {
    this.refusals.push(`${from} ${errorId}`);
  }

  ignored(from: Side): void {
    this.ignoredFrom[from] += 1;
  }

  routeLost(reason: LostReason): void {
    this.lost.push(reason);
  }

  redirected(from: 'hello' | 'live'): void {
    this.redirects.push(from);
  }

  moved(): void {
    this.redirects.push('moved');
  }

  readsPaused(limit: PauseReason, ms: number): void {
    this.pausedMs[limit] += ms;
  }

  sessionEnded(reason: SessionEnd): void {
    this.ends.push(reason);
  }
}

export const silentLog = { debug() {}, info() {}, warn() {}, error() {} };

/** A lease of a device without tools. */
export function leaseOf(given: Partial<Lease>): Lease {
  return {
    tenant: 'north',
    deviceId: 'laptop',
    epoch: 1,
    connectedUnixMs: 1,
    bridgeVersion: '1',
    features: [],
    catalogDigest: digestOfCatalog(new Uint8Array()),
    ...given,
  };
}

type Settings = Readonly<Record<string, unknown>>;

/** Cached: reading a configuration takes longer than most properties. */
const configs = new Map<string, RelayConfig>();

/** The default configuration with the given settings. */
function configWith(settings: Settings = {}): RelayConfig {
  const key = JSON.stringify(settings);
  const config = configs.get(key) ?? read(settings);
  configs.set(key, config);
  return config;
}

function read(settings: Settings): RelayConfig {
  return readRelayConfig({
    env: {},
    flags: {
      tls: { certFile: 'cert.pem', keyFile: 'key.pem', caFile: 'ca.pem' },
      'enrolment.jwksFile': 'keys.json',
      ...settings,
    },
  });
}

/** What sessions and links share, without an engine or timers. */
export function sharedParts(settings: Settings = {}) {
  const clock = {
    nowMs: 0,
    monotonicMs: () => clock.nowMs,
    unixMs: () => 1_800_000_000_000 + clock.nowMs,
  };
  const config = configWith(settings);
  return {
    config,
    clock,
    metrics: new CountedMetrics(),
    log: silentLog,
    backlog: new Backlog(),
    logThrottle: new LogThrottle(10),
    largeHellos: new LargeHellos(config.devices.maxCatalogBytes),
    heartbeat: new Heartbeat(config.sockets.heartbeatMs),
    heartbeatMs: config.sockets.heartbeatMs,
    maxFrameBytes: config.sockets.maxFrameBytes,
  };
}
