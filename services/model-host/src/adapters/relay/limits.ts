import type { BackoffRange } from '@zerolatency/service/backoff';

/** Bounds on the routes to devices, and how long each step may take. */
export interface RelayLimits {
  /** A call that has not been sent waits this long for a device that is reconnecting. */
  readonly connectWaitMs: number;
  /** An unused route is closed after this long. */
  readonly routeIdleMs: number;
  /** A link or an RPC that is not answered by then has failed. */
  readonly dialTimeoutMs: number;
  /** The relay is pinged this often, unless much is being sent; one that is silent until the next time is dead. */
  readonly heartbeatMs: number;
  /** Bytes the kernel has not taken yet. Beyond, the link is closed and its calls resume. */
  readonly maxQueueBytes: number;
  readonly maxFrameBytes: number;
  readonly maxRoutes: number;
  readonly maxLinks: number;
  /** Between two tries of a link or route that was lost. */
  readonly retry: BackoffRange;
}

export const DEFAULT_RELAY_LIMITS: RelayLimits = {
  connectWaitMs: 2000,
  routeIdleMs: 300_000,
  dialTimeoutMs: 3000,
  heartbeatMs: 5000,
  // 16 full frames: a healthy relay drains that in milliseconds.
  maxQueueBytes: 16 * 1024 * 1024,
  maxFrameBytes: 1024 * 1024,
  maxRoutes: 10_000,
  maxLinks: 256,
  // Well inside the 5 s in which devices must be back.
  retry: { minMs: 20, maxMs: 1000 },
};
