import type { DeviceIdentity } from '@zerolatency/identity';
import type {
  DeviceDescription,
  Directory,
  DirectoryEntry,
  Lease,
  Owner,
} from '../../directory/directory.ts';
import type { Clock } from '../../ports.ts';

export interface MemoryDirectoryOptions {
  readonly relayId: string;
  readonly linkUrl: () => string;
  readonly ttlMs: number;
  readonly clock: Clock;
}

interface Entry {
  readonly lease: Lease;
  description: DeviceDescription;
  expiresAtMs: number;
}

/** The directory for an installation with a single relay pod. */
export class MemoryDirectory implements Directory {
  readonly #options: MemoryDirectoryOptions;
  readonly #tenants = new Map<string, Map<string, Entry>>();
  #lastEpoch = 0;

  constructor(options: MemoryDirectoryOptions) {
    this.#options = options;
  }

  async acquire(device: DeviceIdentity, description: DeviceDescription): Promise<Lease> {
    const { tenant, deviceId } = device;
    // Based on the time of day, so that epochs also grow across a restart.
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, this.#options.clock.unixMs());
    const lease: Lease = { tenant, deviceId, epoch: this.#lastEpoch };
    const entries = this.#tenants.get(tenant) ?? new Map<string, Entry>();
    this.#tenants.set(tenant, entries);
    entries.set(deviceId, { lease, description, expiresAtMs: this.#expiry() });
    return lease;
  }

  async renew(leases: readonly Lease[]): Promise<readonly Lease[]> {
    const expiresAtMs = this.#expiry();
    return leases.filter((lease) => {
      const entry = this.#entryOf(lease);
      if (entry !== undefined) entry.expiresAtMs = expiresAtMs;
      return entry === undefined;
    });
  }

  async release(lease: Lease): Promise<void> {
    if (this.#entryOf(lease) === undefined) return;
    const entries = this.#tenants.get(lease.tenant);
    entries?.delete(lease.deviceId);
    if (entries?.size === 0) this.#tenants.delete(lease.tenant);
  }

  async describe(lease: Lease, description: DeviceDescription): Promise<void> {
    const entry = this.#entryOf(lease);
    if (entry !== undefined) entry.description = description;
  }

  async locate({ tenant, deviceId }: DeviceIdentity): Promise<Owner | undefined> {
    const entry = this.#tenants.get(tenant)?.get(deviceId);
    return entry === undefined || this.#isExpired(entry) ? undefined : this.#owner(entry.lease);
  }

  async list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]> {
    const entries = this.#tenants.get(tenant) ?? new Map<string, Entry>();
    return firstAfter(this.#current(entries), page).flatMap((deviceId) => {
      const entry = entries.get(deviceId);
      return entry === undefined ? [] : [{ ...this.#owner(entry.lease), ...entry.description }];
    });
  }

  /** Without expired leases, which would make a page end early. */
  *#current(entries: ReadonlyMap<string, Entry>): Generator<string> {
    for (const [deviceId, entry] of entries) if (!this.#isExpired(entry)) yield deviceId;
  }

  #entryOf({ tenant, deviceId, epoch }: Lease): Entry | undefined {
    const entry = this.#tenants.get(tenant)?.get(deviceId);
    // An expired lease that nobody has taken over still belongs to its holder.
    return entry?.lease.epoch === epoch ? entry : undefined;
  }

  #isExpired({ expiresAtMs }: Entry): boolean {
    return this.#options.clock.monotonicMs() >= expiresAtMs;
  }

  #owner(lease: Lease): Owner {
    const { relayId, linkUrl } = this.#options;
    return { ...lease, relayId, linkUrl: linkUrl() };
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
