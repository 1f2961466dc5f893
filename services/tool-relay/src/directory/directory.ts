import type { DeviceIdentity } from '@zerolatency/identity';

export interface Lease extends DeviceIdentity {
  /** Larger than the epoch of every earlier lease of this device, also across restarts. */
  readonly epoch: number;
}

/** What others may know about a connected device. */
export interface DeviceDescription {
  readonly connectedUnixMs: number;
  readonly bridgeVersion: string;
  readonly features: readonly string[];
  /** bridge.v1.Catalog, encoded. */
  readonly catalog: Uint8Array;
}

export interface Owner extends Lease {
  readonly relayId: string;
  readonly linkUrl: string;
}

export interface DirectoryEntry extends Owner, DeviceDescription {}

/**
 * Which relay pod owns a device. The latest acquire wins: the device dials, so
 * the newest socket is the true one, and the epoch fences a pod that has not
 * noticed yet. A lease that is not renewed within its time to live expires.
 * Every method may fail with its store; no live session ends because of that.
 */
export interface Directory {
  acquire(device: DeviceIdentity, description: DeviceDescription): Promise<Lease>;
  /** Returns those of the given objects whose lease another pod has taken over. */
  renew(leases: readonly Lease[]): Promise<readonly Lease[]>;
  /** Does nothing when the device has a newer lease, as does describe(). */
  release(lease: Lease): Promise<void>;
  describe(lease: Lease, description: DeviceDescription): Promise<void>;
  locate(device: DeviceIdentity): Promise<Owner | undefined>;
  /** The devices after the given id, ordered by id. */
  list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]>;
}
