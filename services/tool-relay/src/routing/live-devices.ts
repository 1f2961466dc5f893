import type { DeviceIdentity } from '@zerolatency/identity';
import type { TenantLimits } from '../config.ts';
import { Allowance } from '../limits/allowance.ts';
import type { LiveDevice } from './live-device.ts';

/** What the devices of one tenant use together. */
export class TenantUsage {
  readonly limits: TenantLimits;
  readonly fromDevices: Allowance;
  readonly fromHosts: Allowance;
  calls = 0;

  constructor(limits: TenantLimits, nowMs: number) {
    this.limits = limits;
    this.fromDevices = new Allowance(limits, nowMs);
    this.fromHosts = new Allowance(limits, nowMs);
  }
}

interface Tenant {
  readonly usage: TenantUsage;
  readonly devices: Map<string, LiveDevice>;
}

/** The devices for which this pod has both the socket and the lease. */
export class LiveDevices {
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

  find({ tenant, deviceId }: DeviceIdentity): LiveDevice | undefined {
    return this.#tenants.get(tenant)?.devices.get(deviceId);
  }

  /** Whether the tenant may have one more device. A device that reconnects reuses its place. */
  hasRoomFor({ tenant, deviceId }: DeviceIdentity): boolean {
    const known = this.#tenants.get(tenant);
    if (known === undefined || known.devices.has(deviceId)) return true;
    return known.devices.size < this.#limits.maxDevices;
  }

  /** Kept as long as the tenant has a live device. */
  usageOf(tenant: string): TenantUsage {
    const known = this.#tenants.get(tenant);
    return known?.usage ?? new TenantUsage(this.#limits, this.#monotonicMs());
  }

  /** Returns the device that it replaces. */
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
