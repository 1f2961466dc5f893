import type { DeviceLimits } from '../config.ts';
import type { Backlog } from '../limits/backlog.ts';
import type { Heartbeat } from '../limits/heartbeat.ts';
import type { Clock, Directory, HelloVerifier, Log, RelayMetrics } from '../ports.ts';
import type { Devices } from '../routing/devices.ts';

/** What all sessions of a pod share. */
export interface SessionContext {
  readonly relayId: string;
  readonly limits: DeviceLimits;
  readonly maxFrameBytes: number;
  readonly heartbeatMs: number;
  readonly devices: Devices;
  readonly verifier: HelloVerifier;
  readonly directory: Directory;
  readonly heartbeat: Heartbeat;
  readonly backlog: Backlog;
  readonly clock: Clock;
  readonly metrics: RelayMetrics;
  readonly log: Log;
}
