/** What the way to devices tells about itself; bound to the metrics registry by the service. */
export interface RelayMetrics {
  /** A link came up (1) or went (-1). */
  linksOpen(change: 1 | -1): void;
  /** Round trip of a ping on a link. */
  linkRoundTrip(ms: number): void;
  /** The kind of a frame is not one this release knows. */
  frameIgnored(): void;
}

export const noRelayMetrics: RelayMetrics = {
  linksOpen() {},
  linkRoundTrip() {},
  frameIgnored() {},
};
