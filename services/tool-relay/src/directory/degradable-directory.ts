import { fromUnknown, type ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../ports.ts';
import {
  type AcquiredLease,
  type DeviceDescription,
  type Directory,
  type DirectoryEntry,
  epochAfter,
  type Lease,
  type PodAddress,
} from './directory.ts';

/** About 300 bytes each. */
const MAX_REMEMBERED = 10_000;

export interface DegradableDirectoryOptions {
  /** Fails with directory.degraded while its store is away. */
  readonly directory: Directory;
  readonly pod: () => PodAddress;
  /** Looks among the devices whose sockets are here. */
  readonly ownLease: (device: DeviceIdentity) => Lease | undefined;
  readonly clock: Pick<Clock, 'unixMs'>;
}

/**
 * A directory that goes on while its store is away: devices get a lease that
 * only this pod knows, and the next renewal that succeeds writes it. What this
 * pod does not know is directory.degraded, and never "offline".
 */
export class DegradableDirectory implements Directory {
  readonly #options: DegradableDirectoryOptions;
  readonly #remembered = new LRUCache<string, DirectoryEntry>({ max: MAX_REMEMBERED });
  #lastEpoch = 0;

  constructor(options: DegradableDirectoryOptions) {
    this.#options = options;
  }

  async acquire(
    device: DeviceIdentity,
    description: DeviceDescription,
    lastEpoch = 0,
  ): Promise<AcquiredLease> {
    const { directory } = this.#options;
    const acquired = await directory.acquire(device, description, lastEpoch).catch((reason) => {
      degradedOr(reason);
      const lease = { ...device, ...description, epoch: this.#localEpoch(device, lastEpoch) };
      return { lease, replaced: undefined };
    });
    this.#remembered.delete(keyOf(device));
    return acquired;
  }

  /** A store that is away does not hear of it, and the lease expires there. */
  async withdraw(acquired: AcquiredLease): Promise<void> {
    await this.#options.directory.withdraw(acquired).catch(degradedOr);
  }

  async release(lease: Lease): Promise<void> {
    await this.#options.directory.release(lease).catch(degradedOr);
  }

  renew(leases: readonly Lease[]): Promise<readonly Lease[]> {
    return this.#options.directory.renew(leases);
  }

  async locate(device: DeviceIdentity): Promise<DirectoryEntry | undefined> {
    try {
      const entry = await this.#options.directory.locate(device);
      if (entry === undefined) this.#remembered.delete(keyOf(device));
      else this.#remembered.set(keyOf(device), entry);
      return entry;
    } catch (reason) {
      return this.#known(device, degradedOr(reason));
    }
  }

  list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]> {
    return this.#options.directory.list(tenant, page);
  }

  #known(device: DeviceIdentity, error: ZlError): DirectoryEntry {
    const pod = this.#options.pod();
    const own = this.#options.ownLease(device);
    if (own !== undefined) return { ...own, ...pod };
    const remembered = this.#remembered.get(keyOf(device));
    // This pod would know its own.
    if (remembered === undefined || remembered.relayId === pod.relayId) throw error;
    return remembered;
  }

  /** By the rule of every directory, from what this pod knows. */
  #localEpoch(device: DeviceIdentity, lastEpoch: number): number {
    const { clock, ownLease } = this.#options;
    const unixMs = clock.unixMs();
    const own = ownLease(device)?.epoch ?? 0;
    const known = Math.max(own, this.#remembered.get(keyOf(device))?.epoch ?? 0);
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, unixMs);
    return Math.max(this.#lastEpoch, known + 1, epochAfter(lastEpoch, unixMs));
  }
}

/** Throws any other failure again. */
function degradedOr(reason: unknown): ZlError {
  const error = fromUnknown(reason);
  if (error.id !== 'directory.degraded') throw reason;
  return error;
}

function keyOf({ tenant, deviceId }: DeviceIdentity): string {
  return JSON.stringify([tenant, deviceId]);
}
