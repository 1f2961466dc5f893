import type { TenantLimits } from '../config.ts';
import type { DeviceAddress } from '../ports.ts';
import type { LiveDevice } from './live-device.ts';
import { TenantUsage } from './tenant-usage.ts';

interface Tenant {
  readonly usage: TenantUsage;
  readonly devices: Map<string, LiveDevice>;
}

/** The devices whose sockets this pod holds and has a lease for. */
export class Devices {
  readonly #limits: TenantLimits;
  readonly #monotonicMs: () => number;
  readonly #tenants = new Map<string, Tenant>();
  #size = 0;

  constructor(limits: TenantLimits, monotonicMs: () => number) {
    this.#limits = limits;
    this.#monotonicMs = monotonicMs;
  }

  get size(): number {
    return this.#size;
  }

  find({ tenant, deviceId }: DeviceAddress): LiveDevice | undefined {
    return this.#tenants.get(tenant)?.devices.get(deviceId);
  }

  /** Whether the tenant may have one more; a device that comes back takes its own place. */
  hasRoomFor({ tenant, deviceId }: DeviceAddress): boolean {
    const known = this.#tenants.get(tenant);
    if (known === undefined || known.devices.has(deviceId)) return true;
    return known.devices.size < this.#limits.maxDevices;
  }

  /** What a device of the tenant shares with the others. Kept while one of them is there. */
  usageOf(tenant: string): TenantUsage {
    const known = this.#tenants.get(tenant);
    return known?.usage ?? new TenantUsage(this.#limits, this.#monotonicMs());
  }

  /** Gives the one that had its place. */
  put(device: LiveDevice, usage: TenantUsage): LiveDevice | undefined {
    const { tenant: name, deviceId } = device.lease;
    const tenant = this.#tenants.get(name) ?? { usage, devices: new Map() };
    this.#tenants.set(name, tenant);
    const earlier = tenant.devices.get(deviceId);
    tenant.devices.set(deviceId, device);
    if (earlier === undefined) this.#size += 1;
    return earlier;
  }

  remove(device: LiveDevice): void {
    const { tenant: name, deviceId } = device.lease;
    const tenant = this.#tenants.get(name);
    if (tenant?.devices.get(deviceId) !== device) return;
    tenant.devices.delete(deviceId);
    this.#size -= 1;
    if (tenant.devices.size === 0) this.#tenants.delete(name);
  }

  *[Symbol.iterator](): Generator<LiveDevice> {
    for (const { devices } of this.#tenants.values()) yield* devices.values();
  }
}
