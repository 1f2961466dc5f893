import type { ErrorId } from '@zerolatency/errors';
import type { RevocationFigures } from '@zerolatency/revocations';
import {
  childBy,
  gaugeFrom,
  metric,
  metricFrom,
  type Registry,
} from '@zerolatency/service/telemetry';
import { REFUSAL_REASONS, type RefusalReason } from '@zerolatency/signing';
import type { StoreOperation } from './directory/directory.ts';
import type { Side } from './limits/backlog.ts';
import type { PauseReason } from './limits/pace.ts';
import type { LostReason } from './routing/relay-frames.ts';
import type { SessionEnd } from './sessions/disconnect.ts';
import type { Unadmitted } from './sockets/arrivals.ts';
import type { SocketMetrics } from './sockets/relay-sockets.ts';
import { TRANSPORTS, type Transport } from './sockets/socket-engine.ts';

/** What is open, read when it is scraped. */
export interface OpenCounts {
  deviceSockets(): number;
  unproved(): number;
  isAccepting(): boolean;
  liveDevices(): number;
  liveDevicesBy(transport: Transport): number;
  links(): number;
  handles(): number;
  queuedBytes(to: Side): number;
  isDirectoryDegraded(): boolean;
  pods(): number;
  podsGeneration(): number;
}

const SIDES = ['host', 'device'] as const;

/**
 * Forwarding a frame only adds to two numbers: a labelled counter costs as much
 * as the rest of routing it. They become counters when they are scraped.
 */
export class RelayMeters implements SocketMetrics {
  readonly #registry: Registry;
  readonly #passed = { host: { frames: 0, bytes: 0 }, device: { frames: 0, bytes: 0 } };
  readonly #refused;
  readonly #ignored;
  readonly #routeLost;
  readonly #sessions;
  readonly #paused;
  readonly #unadmitted;
  readonly #directory;
  readonly #redirects;
  readonly #moved;
  readonly #streamRequests;

  constructor(registry: Registry) {
    this.#registry = registry;
    const streamRequests = metric(registry, 'zl_relay_stream_requests_total');
    this.#streamRequests = childBy((errorId: ErrorId | 'none') =>
      streamRequests.labels({ error_id: errorId }),
    );
    this.#refused = metric(registry, 'zl_relay_frames_refused_total');
    this.#ignored = metric(registry, 'zl_relay_frames_ignored_total');
    this.#routeLost = metric(registry, 'zl_relay_route_lost_total');
    this.#sessions = metric(registry, 'zl_relay_sessions_total');
    this.#paused = metric(registry, 'zl_relay_reads_paused_seconds_total');
    this.#unadmitted = metric(registry, 'zl_relay_unadmitted_total');
    this.#directory = metric(registry, 'zl_relay_directory_operations_total');
    const redirects = metric(registry, 'zl_relay_redirects_total');
    this.#redirects = childBy((from: 'hello' | 'live') => redirects.labels({ from }));
    this.#moved = metric(registry, 'zl_relay_moved_total').labels();
    const passed = this.#passed;
    metricFrom(registry, 'zl_relay_frames_total', () =>
      SIDES.map((from) => [{ from }, passed[from].frames]),
    );
    metricFrom(registry, 'zl_relay_bytes_total', () =>
      SIDES.map((from) => [{ from }, passed[from].bytes]),
    );
  }

  passed(from: Side, bytes: number): void {
    const passed = this.#passed[from];
    passed.frames += 1;
    passed.bytes += bytes;
  }

  refused(from: Side, errorId: ErrorId): void {
    this.#refused.labels({ from, error_id: errorId }).inc();
  }

  ignored(from: Side): void {
    this.#ignored.labels({ from }).inc();
  }

  routeLost(reason: LostReason): void {
    this.#routeLost.labels({ reason }).inc();
  }

  sessionEnded(reason: SessionEnd): void {
    this.#sessions.labels({ reason }).inc();
  }

  redirected(from: 'hello' | 'live'): void {
    this.#redirects(from).inc();
  }

  moved(): void {
    this.#moved.inc();
  }

  readsPaused(limit: PauseReason, ms: number): void {
    this.#paused.labels({ limit }).inc(ms / 1000);
  }

  unadmitted(reason: Unadmitted): void {
    this.#unadmitted.labels({ reason }).inc();
  }

  streamRequest(errorId: ErrorId | 'none'): void {
    this.#streamRequests(errorId).inc();
  }

  directoryOperation(operation: StoreOperation, outcome: 'done' | 'failed'): void {
    this.#directory.labels({ operation, outcome }).inc();
  }

  observe(counts: OpenCounts): void {
    const registry = this.#registry;
    gaugeFrom(registry, 'zl_relay_device_sockets_open', () => counts.deviceSockets());
    gaugeFrom(registry, 'zl_relay_unproved_open', () => counts.unproved());
    gaugeFrom(registry, 'zl_relay_accepting', () => (counts.isAccepting() ? 1 : 0));
    gaugeFrom(registry, 'zl_relay_devices_live', () => counts.liveDevices());
    gaugeFrom(registry, 'zl_relay_links_open', () => counts.links());
    gaugeFrom(registry, 'zl_relay_handles_open', () => counts.handles());
    gaugeFrom(registry, 'zl_relay_pods', () => counts.pods());
    gaugeFrom(registry, 'zl_relay_pods_generation', () => counts.podsGeneration());
    gaugeFrom(registry, 'zl_relay_directory_degraded', () =>
      counts.isDirectoryDegraded() ? 1 : 0,
    );
    metricFrom(registry, 'zl_relay_devices_live_by_transport', () =>
      TRANSPORTS.map((transport) => [{ transport }, counts.liveDevicesBy(transport)]),
    );
    metricFrom(registry, 'zl_relay_queued_bytes', () =>
      SIDES.map((to) => [{ to }, counts.queuedBytes(to)]),
    );
  }
}

/** In the role registrar. */
export class RegistrarMeters {
  readonly #enrolments;
  readonly #codes;
  readonly #renewals;

  constructor(registry: Registry) {
    this.#renewals = metric(registry, 'zl_registrar_renewals_total');
    this.#enrolments = metric(registry, 'zl_registrar_enrolments_total');
    this.#codes = metric(registry, 'zl_registrar_codes_total').labels();
  }

  enrolmentEnded(errorId: ErrorId | 'none'): void {
    this.#enrolments.labels({ error_id: errorId }).inc();
  }

  codeCreated(): void {
    this.#codes.inc();
  }

  renewalEnded(errorId: ErrorId | 'none'): void {
    this.#renewals.labels({ error_id: errorId }).inc();
  }
}

/** Returns what counts the lists that were refused. */
export function revocationRefusals(registry: Registry): (reason: RefusalReason) => void {
  const refused = metric(registry, 'zl_revocations_refused_total');
  const byReason = childBy((reason: RefusalReason) => refused.labels({ reason }));
  // A rate sees the first refusal only where there was a zero before it.
  for (const reason of REFUSAL_REASONS) byReason(reason).inc(0);
  return (reason) => byReason(reason).inc();
}

export function exposeRevocations(registry: Registry, figures: () => RevocationFigures): void {
  gaugeFrom(registry, 'zl_revocations_version', () => figures().version);
  gaugeFrom(registry, 'zl_revocations_devices', () => figures().devices);
  gaugeFrom(registry, 'zl_revocations_silent_seconds', () => figures().silentSeconds);
}
