import type { ErrorId } from '@zerolatency/errors';
import { childBy, gaugeFrom, metric, type Registry } from '@zerolatency/service/telemetry';
import { certificateExpirySeconds } from '@zerolatency/service/tls';
import type { Side } from './limits/backlog.ts';
import type { LostReason } from './routing/relay-frames.ts';
import type { SessionMetrics } from './sessions/device-session.ts';
import type { SessionEnd } from './sessions/disconnect.ts';

/** What is open, read when it is scraped. */
export interface OpenCounts {
  deviceSockets(): number;
  liveDevices(): number;
  links(): number;
  handles(): number;
  queuedBytes(to: Side): number;
}

const sides = ['host', 'device'] as const;

/**
 * Passing a frame on only adds to two numbers: a labelled counter costs as much
 * as the rest of routing it. They become counters when they are scraped.
 */
export class RelayMeters implements SessionMetrics {
  readonly #registry: Registry;
  readonly #passed = { host: { frames: 0, bytes: 0 }, device: { frames: 0, bytes: 0 } };
  readonly #refused;
  readonly #routeLost;
  readonly #sessions;
  #counts: OpenCounts | undefined;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#refused = metric(registry, 'zl_relay_frames_refused_total');
    this.#routeLost = metric(registry, 'zl_relay_route_lost_total');
    this.#sessions = metric(registry, 'zl_relay_sessions_total');
  }

  passed(from: Side, bytes: number): void {
    const passed = this.#passed[from];
    passed.frames += 1;
    passed.bytes += bytes;
  }

  refused(from: Side, errorId: ErrorId): void {
    this.#refused.labels({ from, error_id: errorId }).inc();
  }

  routeLost(reason: LostReason): void {
    this.#routeLost.labels({ reason }).inc();
  }

  sessionEnded(reason: SessionEnd): void {
    this.#sessions.labels({ reason }).inc();
  }

  observe(counts: OpenCounts): void {
    this.#counts = counts;
    const registry = this.#registry;
    gaugeFrom(registry, 'zl_relay_device_sockets_open', () => counts.deviceSockets());
    gaugeFrom(registry, 'zl_relay_devices_live', () => counts.liveDevices());
    gaugeFrom(registry, 'zl_relay_links_open', () => counts.links());
    gaugeFrom(registry, 'zl_relay_handles_open', () => counts.handles());
  }

  /** The registry as an admin port serves it. */
  source() {
    const frames = metric(this.#registry, 'zl_relay_frames_total');
    const bytes = metric(this.#registry, 'zl_relay_bytes_total');
    const queued = metric(this.#registry, 'zl_relay_queued_bytes');
    const children = sides.map((side) => ({
      side,
      frames: frames.labels({ from: side }),
      bytes: bytes.labels({ from: side }),
      queued: queued.labels({ to: side }),
    }));
    return {
      contentType: this.#registry.contentType,
      metrics: async () => {
        for (const child of children) {
          const passed = this.#passed[child.side];
          child.frames.inc(passed.frames);
          child.bytes.inc(passed.bytes);
          this.#passed[child.side] = { frames: 0, bytes: 0 };
          child.queued.set(this.#counts?.queuedBytes(child.side) ?? 0);
        }
        return this.#registry.metrics();
      },
    };
  }
}

/** Secrets masked in log lines; a relay shows nothing else of what it handles. */
export function maskedSecrets(registry: Registry): (detector: string) => void {
  const masked = metric(registry, 'zl_masked_secrets_total');
  const ofDetector = childBy((detector) => masked.labels({ detector }));
  return (detector) => ofDetector(detector).inc();
}

/** `certificate` gives the PEM of the one in use. */
export function exposeCertificate(registry: Registry, certificate: () => string): void {
  gaugeFrom(registry, 'zl_certificate_expires_timestamp_seconds', () =>
    certificateExpirySeconds(certificate()),
  );
}
