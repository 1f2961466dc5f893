import { fromUnknown, type ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../ports.ts';
import type {
  AcquiredLease,
  DeviceDescription,
  Directory,
  DirectoryEntry,
  Lease,
  PodAddress,
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

  async acquire(device: DeviceIdentity, description: DeviceDescription): Promise<AcquiredLease> {
    const acquired = await this.#options.directory.acquire(device, description).catch((reason) => {
      degradedOr(reason);
      return { lease: this.#localLease(device, description), replaced: undefined };
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
  #localLease(device: DeviceIdentity, description: DeviceDescription): Lease {
    const { clock, ownLease } = this.#options;
    const { tenant, deviceId } = device;
    const known = Math.max(
      this.#lastEpoch,
      ownLease(device)?.epoch ?? 0,
      this.#remembered.get(keyOf(device))?.epoch ?? 0,
    );
    this.#lastEpoch = Math.max(known + 1, clock.unixMs());
    return { tenant, deviceId, epoch: this.#lastEpoch, ...description };
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
