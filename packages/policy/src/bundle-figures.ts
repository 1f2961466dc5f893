import type { BundleState } from './bundle-holder.ts';

export interface BundleFigures {
  /** Versions begin at 1; 0 where there is no bundle. */
  readonly version: number;
  /** NaN where there is no bundle, because nothing has an age then. */
  readonly ageSeconds: number;
  /** Negative once it has expired; 0 where there is no bundle, so that an alert on little time left tells of that too. */
  readonly expiresSeconds: number;
}

/** What gauges say of the bundle in force. */
export function bundleFigures(held: BundleState, nowMs: number): BundleFigures {
  if (held.state === 'none') return { version: 0, ageSeconds: Number.NaN, expiresSeconds: 0 };
  const { version, issuedAt } = held.bundle;
  return {
    version,
    ageSeconds: (nowMs - Date.parse(issuedAt)) / 1000,
    expiresSeconds: (held.expiresAtMs - nowMs) / 1000,
  };
}
