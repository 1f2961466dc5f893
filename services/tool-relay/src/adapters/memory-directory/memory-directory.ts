import type { DeviceIdentity } from '@zerolatency/identity';
import {
  type AcquiredLease,
  type DeviceDescription,
  type Directory,
  type DirectoryEntry,
  epochAfter,
  type Lease,
  type PodAddress,
} from '../../directory/directory.ts';
import type { Clock } from '../../ports.ts';

export interface MemoryDirectoryOptions {
  readonly pod: () => PodAddress;
  readonly ttlMs: number;
  readonly clock: Clock;
}

interface Holding {
  readonly lease: Lease;
  readonly expiresAtMs: number;
}

/** What is known of one device. */
interface DeviceLeases {
  holding: Holding | undefined;
  /** The largest epoch of a socket that is over. No older lease comes back. */
  overEpoch: number;
  /** The largest epoch that was withdrawn while a newer lease held. */
  withdrawnEpoch: number;
}

/** The directory for an installation with a single relay pod. */
export class MemoryDirectory implements Directory {
  readonly #options: MemoryDirectoryOptions;
  readonly #tenants = new Map<string, Map<string, DeviceLeases>>();
  #lastEpoch = 0;

  constructor(options: MemoryDirectoryOptions) {
    this.#options = options;
  }

  async acquire(
    device: DeviceIdentity,
    description: DeviceDescription,
    lastEpoch = 0,
  ): Promise<AcquiredLease> {
    const { tenant, deviceId } = device;
    const unixMs = this.#options.clock.unixMs();
    const leases = this.#leasesOf(device);
    const earlier = leases.holding;
    // Based on the time of day, so that epochs also grow across a restart.
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, unixMs);
    const known = Math.max(earlier?.lease.epoch ?? 0, leases.overEpoch);
    const epoch = Math.max(this.#lastEpoch, known + 1, epochAfter(lastEpoch, unixMs));
    const lease: Lease = { tenant, deviceId, epoch, ...description };
    leases.holding = { lease, expiresAtMs: this.#expiry() };
    if (earlier === undefined) return { lease, replaced: undefined };
    const replaced = {
      epoch: earlier.lease.epoch,
      entry: this.#entry(earlier),
      expiresAtMs: earlier.expiresAtMs,
    };
    return { lease, replaced };
  }

  async withdraw({ lease, replaced }: AcquiredLease): Promise<void> {
    const leases = this.#leasesOf(lease);
    if (leases.holding?.lease.epoch !== lease.epoch) {
      leases.withdrawnEpoch = Math.max(leases.withdrawnEpoch, lease.epoch);
    } else if (
      replaced !== undefined &&
      replaced.epoch > Math.max(leases.overEpoch, leases.withdrawnEpoch)
    ) {
      leases.holding = { lease: replaced.entry, expiresAtMs: replaced.expiresAtMs };
    } else leases.holding = undefined;
    this.#forgetUnused(lease);
  }

  async renew(renewed: readonly Lease[]): Promise<readonly Lease[]> {
    const expiresAtMs = this.#expiry();
    return renewed.filter((lease) => {
      const leases = this.#leasesOf(lease);
      const newestEpoch = Math.max(leases.holding?.lease.epoch ?? 0, leases.overEpoch);
      if (newestEpoch > lease.epoch) return true;
      leases.holding = { lease, expiresAtMs };
      this.#lastEpoch = Math.max(this.#lastEpoch, lease.epoch);
      return false;
    });
  }

  async release(lease: Lease): Promise<void> {
    const leases = this.#leasesOf(lease);
    leases.overEpoch = Math.max(leases.overEpoch, lease.epoch);
    if (leases.holding?.lease.epoch === lease.epoch) leases.holding = undefined;
    this.#forgetUnused(lease);
  }

  async locate({ tenant, deviceId }: DeviceIdentity): Promise<DirectoryEntry | undefined> {
    const holding = this.#tenants.get(tenant)?.get(deviceId)?.holding;
    return holding === undefined || this.#isExpired(holding) ? undefined : this.#entry(holding);
  }

  async list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]> {
    const devices = this.#tenants.get(tenant) ?? new Map<string, DeviceLeases>();
    return firstAfter(this.#current(devices), page).flatMap((deviceId) => {
      const holding = devices.get(deviceId)?.holding;
      return holding === undefined ? [] : [this.#entry(holding)];
    });
  }

  /** Without expired leases, which would make a page end early. */
  *#current(devices: ReadonlyMap<string, DeviceLeases>): Generator<string> {
    for (const [deviceId, { holding }] of devices) {
      if (holding !== undefined && !this.#isExpired(holding)) yield deviceId;
    }
  }

  #leasesOf({ tenant, deviceId }: DeviceIdentity): DeviceLeases {
    const devices = this.#tenants.get(tenant) ?? new Map<string, DeviceLeases>();
    this.#tenants.set(tenant, devices);
    const leases = devices.get(deviceId) ?? {
      holding: undefined,
      overEpoch: 0,
      withdrawnEpoch: 0,
    };
    devices.set(deviceId, leases);
    return leases;
  }

  /** The sockets of a device are all on this pod, so that no renewal of an older lease can follow. */
  #forgetUnused({ tenant, deviceId }: DeviceIdentity): void {
    const devices = this.#tenants.get(tenant);
    if (devices?.get(deviceId)?.holding !== undefined) return;
    devices?.delete(deviceId);
    if (devices?.size === 0) this.#tenants.delete(tenant);
  }

  #isExpired({ expiresAtMs }: Holding): boolean {
    return this.#options.clock.monotonicMs() >= expiresAtMs;
  }

  #entry({ lease }: Holding): DirectoryEntry {
    return { ...lease, ...this.#options.pod() };
  }

  #expiry(): number {
    return this.#options.clock.monotonicMs() + this.#options.ttlMs;
  }
}

/**
 * Returns the first names after a given one, in order. One pass that keeps only
 * `limit` names: sorting a hundred thousand would delay frames.
 *
 * @internal Exported for its property test.
 */
export function firstAfter(
  names: Iterable<string>,
  { after, limit }: { readonly after: string; readonly limit: number },
): string[] {
  const first: string[] = [];
  for (const name of names) {
    if (name <= after) continue;
    const last = first.at(-1);
    if (first.length >= limit && last !== undefined && name > last) continue;
    first.splice(insertionIndex(name, first), 0, name);
    if (first.length > limit) first.pop();
  }
  return first;
}

function insertionIndex(name: string, sorted: readonly string[]): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
