import { createHash } from 'node:crypto';
import type { DeviceIdentity } from '@zerolatency/identity';
import type { Transport } from '../sockets/socket-engine.ts';

/** Far longer than clocks differ; an epoch further ahead is not genuine. */
export const MAX_EPOCH_AHEAD_MS = 365 * 24 * 60 * 60 * 1000;

/** What others may know about a connected device. */
export interface DeviceDescription {
  readonly connectedUnixMs: number;
  readonly bridgeVersion: string;
  readonly features: readonly string[];
  /** Absent where the pod that holds the device is of an earlier release. */
  readonly transport?: Transport | undefined;
  /** The pod that holds the device has the catalog itself. */
  readonly catalogDigest: string;
}

/** A renewal carries all of it, so that a store which forgot the lease learns it again. */
export interface Lease extends DeviceIdentity, DeviceDescription {
  /** Larger than the epoch of every earlier lease of this device, also across restarts. */
  readonly epoch: number;
}

/** How hosts and other pods reach a pod. */
export interface PodAddress {
  readonly relayId: string;
  readonly linkUrl: string;
  readonly rpcUrl: string;
}

export interface DirectoryEntry extends Lease, PodAddress {}

/** The lease that another one replaced, as its store needs it to restore it. */
export interface ReplacedLease {
  readonly epoch: number;
  readonly entry: DirectoryEntry;
  /** By the clock of the store. */
  readonly expiresAtMs: number;
}

export interface AcquiredLease {
  readonly lease: Lease;
  readonly replaced: ReplacedLease | undefined;
}

/**
 * Which relay pod owns a device. The latest acquire wins: the device dials, so
 * the newest socket is the true one, and the epoch fences a pod that has not
 * noticed yet. A lease that is not renewed within its time to live expires.
 * Every method may fail with its store; no live session ends because of that.
 *
 * `lastEpoch` is the device's own word, which counts for this device alone.
 */
export interface Directory {
  acquire(
    device: DeviceIdentity,
    description: DeviceDescription,
    lastEpoch?: number,
  ): Promise<AcquiredLease>;
  /** For a lease whose socket never became live: the one that it replaced holds again. */
  withdraw(acquired: AcquiredLease): Promise<void>;
  /**
   * Writes the leases where the store has none or an older one. Returns those
   * of the given objects whose device another socket has taken over.
   */
  renew(leases: readonly Lease[]): Promise<readonly Lease[]>;
  /** Does nothing to a newer lease of the device. */
  release(lease: Lease): Promise<void>;
  locate(device: DeviceIdentity): Promise<DirectoryEntry | undefined>;
  /** The devices after the given id, ordered by id. */
  list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]>;
}

/** The smallest epoch for a device that says it has seen `lastEpoch`. */
export function epochAfter(lastEpoch: number, unixMs: number): number {
  return lastEpoch > unixMs + MAX_EPOCH_AHEAD_MS ? unixMs : Math.max(lastEpoch + 1, unixMs);
}

/** What a pod asks of a store outside it; claim is for its relay id, pods and leave for its place in the pool. */
export type StoreOperation = keyof Directory | 'claim' | 'pods' | 'leave';

/** Names a catalog by its bytes. */
export function digestOfCatalog(catalog: Uint8Array): string {
  return createHash('sha256').update(catalog).digest('base64url');
}
