import type { LinkState } from './link.ts';

/** What the way to devices tells about itself; bound to the metrics registry by the service. */
export interface RelayMetrics {
  linkState(state: LinkState['name']): void;
  /** From OPEN sent until OPENED arrived, or from CALL sent until its first answer. */
  roundTrip(hop: 'relay' | 'device', ms: number): void;
  routeLost(reason: string): void;
  locate(result: 'found' | 'cached' | 'offline' | 'failed'): void;
}

export const noRelayMetrics: RelayMetrics = {
  linkState() {},
  roundTrip() {},
  routeLost() {},
  locate() {},
};
