import type {
  Clock,
  DeviceAddress,
  DeviceDescription,
  Directory,
  DirectoryEntry,
  Lease,
  Owner,
} from '../../ports.ts';
import { firstAfter } from './first-after.ts';

export interface MemoryDirectoryOptions {
  /** The one pod there is. */
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

/** The directory of an installation with one relay pod. */
export class MemoryDirectory implements Directory {
  readonly #options: MemoryDirectoryOptions;
  readonly #tenants = new Map<string, Map<string, Entry>>();
  #lastEpoch = 0;

  constructor(options: MemoryDirectoryOptions) {
    this.#options = options;
  }

  async acquire(device: DeviceAddress, description: DeviceDescription): Promise<Lease> {
    const { tenant, deviceId } = device;
    // Counted from the time of day, so that it also grows over a restart, which forgets it.
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

  async locate({ tenant, deviceId }: DeviceAddress): Promise<Owner | undefined> {
    const entry = this.#tenants.get(tenant)?.get(deviceId);
    return entry === undefined || this.#isOver(entry) ? undefined : this.#owner(entry.lease);
  }

  async list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]> {
    const entries = this.#tenants.get(tenant) ?? new Map<string, Entry>();
    return firstAfter(this.#held(entries), page).flatMap((deviceId) => {
      const entry = entries.get(deviceId);
      return entry === undefined ? [] : [{ ...this.#owner(entry.lease), ...entry.description }];
    });
  }

  /** The devices whose leases have not run out: a page must not end early for want of the others. */
  *#held(entries: ReadonlyMap<string, Entry>): Generator<string> {
    for (const [deviceId, entry] of entries) if (!this.#isOver(entry)) yield deviceId;
  }

  #entryOf({ tenant, deviceId, epoch }: Lease): Entry | undefined {
    const entry = this.#tenants.get(tenant)?.get(deviceId);
    // One that ran out unnoticed and that nobody took is still its holder's.
    return entry?.lease.epoch === epoch ? entry : undefined;
  }

  #isOver({ expiresAtMs }: Entry): boolean {
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
