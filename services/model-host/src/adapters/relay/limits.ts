/** Bounds on the routes to devices, and how long each step may take. */
export type RelayLimits = Readonly<typeof DEFAULT_RELAY_LIMITS>;

export const DEFAULT_RELAY_LIMITS = {
  /** A call that has not been sent waits this long while no relay can say where its device is. */
  connectWaitMs: 2000,
  /** It waits this long after its device or a relay was lost: time for either to restart. */
  reconnectWaitMs: 5000,
  /** An unused route is closed after this long. */
  routeIdleMs: 300_000,
  /** A link to a pod that owns nothing in use is closed after this long. */
  linkIdleMs: 60_000,
  /** Ten times what a busy relay takes for an answer. */
  hedgeMs: 250,
  /** A link or an RPC that is not answered by then has failed. */
  dialTimeoutMs: 3000,
  /** The relay is pinged this often, unless much is being sent; silent until the next time, it is dead. */
  heartbeatMs: 5000,
  /** Bytes the kernel has not taken yet. Beyond these 16 full frames the link is closed and its calls resume. */
  maxQueueBytes: 16 * 1024 * 1024,
  maxFrameBytes: 1024 * 1024,
  maxRoutes: 10_000,
  maxLinks: 256,
  /** Between two tries of a link or route; well inside the 5 s in which devices must be back. */
  retry: { minMs: 20, maxMs: 1000 },
};
