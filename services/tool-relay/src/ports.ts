/** What every room needs and none declares. Other ports are declared by their users. */

export type { Log } from '@zerolatency/service/telemetry';

export interface Clock {
  /** Never steps: for limits and leases. */
  monotonicMs(): number;
  /** Time of day: for credentials and epochs. */
  unixMs(): number;
}
