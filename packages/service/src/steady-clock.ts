import { uptime } from 'node:os';

export interface ClockSources {
  readonly unixMs: () => number;
  /** On Linux it stops while the machine sleeps. */
  readonly monotonicMs: () => number;
  /** Since the machine booted, its sleep included. */
  readonly uptimeMs: () => number;
}

const SYSTEM: ClockSources = {
  unixMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  uptimeMs: () => uptime() * 1000,
};

/** Reading the uptime opens a file, so it is read only when the time of day has left the monotonic clock. */
const NOTABLE_MS = 250;
/** Some systems count their uptime in seconds. */
const UPTIME_STEP_MS = 1_000;

/**
 * Unix time when it is made, and then the time that passes: setting the machine's clock changes
 * nothing, and its sleep counts. It never steps back.
 */
export function steadyClock(sources: ClockSources = SYSTEM): () => number {
  const { unixMs, monotonicMs, uptimeMs } = sources;
  const originMs = unixMs() - monotonicMs();
  const awakeMs = uptimeMs() - monotonicMs();
  let knownOffsetMs = originMs;
  let sleptMs = 0;
  return () => {
    const runMs = monotonicMs();
    const offsetMs = unixMs() - runMs;
    if (Math.abs(offsetMs - knownOffsetMs) > NOTABLE_MS) {
      knownOffsetMs = offsetMs;
      const asleepMs = uptimeMs() - runMs - awakeMs;
      if (asleepMs > sleptMs + UPTIME_STEP_MS) sleptMs = asleepMs;
    }
    return originMs + runMs + sleptMs;
  };
}
