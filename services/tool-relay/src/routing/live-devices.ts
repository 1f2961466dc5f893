import type { DeviceIdentity } from '@zerolatency/identity';
import type { TenantLimits } from '../config.ts';
import { Allowance } from '../limits/allowance.ts';
import { FairShares, type TenantShare } from '../limits/fair-share.ts';
import { Turns } from '../limits/pace.ts';
import type { Transport } from '../sockets/socket-engine.ts';
import type { LiveDevice } from './live-device.ts';

/** What the devices of one tenant use together. */
export class TenantUsage {
  readonly limits: TenantLimits;
  readonly fromDevices: Allowance;
  readonly fromHosts: Allowance;
  readonly turns: Turns;
  readonly share: TenantShare;
  calls = 0;

  constructor(limits: TenantLimits, share: TenantShare, monotonicMs: () => number) {
    const nowMs = monotonicMs();
    this.limits = limits;
    this.share = share;
    this.fromDevices = new Allowance(limits, nowMs);
    this.fromHosts = new Allowance(limits, nowMs);
    this.turns = new Turns(this.fromDevices, monotonicMs);
  }
}

interface Tenant {
  readonly name: string;
  readonly usage: TenantUsage;
  readonly devices: Map<string, LiveDevice>;
  /** How many sockets claim the place of a device: those that wait for a lease, and the live one. */
  readonly claims: Map<string, number>;
}

/** Room for one device within the limit of its tenant. */
export interface Place {
  release(): void;
}

/** The devices for which this pod has both the socket and the lease. */
export class LiveDevices {
  readonly #limits: TenantLimits;
  readonly #monotonicMs: () => number;
  readonly #shares: FairShares;
  readonly #tenants = new Map<string, Tenant>();
  #size = 0;

  constructor(limits: TenantLimits, monotonicMs: () => number) {
    this.#limits = limits;
    this.#monotonicMs = monotonicMs;
    this.#shares = new FairShares(monotonicMs);
  }

  get size(): number {
    return this.#size;
  }

  sizeBy(transport: Transport): number {
    let size = 0;
    for (const { lease } of this) if (lease.transport === transport) size += 1;
    return size;
  }

  find({ tenant, deviceId }: DeviceIdentity): LiveDevice | undefined {
    return this.#tenants.get(tenant)?.devices.get(deviceId);
  }

  /**
   * Keeps room for a device until its place is released. Undefined when the
   * tenant has none; a device that reconnects shares its place.
   */
  reserve({ tenant: name, deviceId }: DeviceIdentity): Place | undefined {
    const claims = this.#tenants.get(name)?.claims;
    const isFull = claims !== undefined && claims.size >= this.#limits.maxDevices;
    if (isFull && !claims.has(deviceId)) return undefined;
    this.#claim(this.#tenant(name), deviceId, 1);
    let isHeld = true;
    return {
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#claim(this.#tenant(name), deviceId, -1);
      },
    };
  }

  /** Kept as long as the tenant has a device. */
  usageOf(tenant: string): TenantUsage {
    const known = this.#tenants.get(tenant);
    if (known !== undefined) return known.usage;
    const share = this.#shares.tenant(this.#limits.weights[tenant]);
    return new TenantUsage(this.#limits, share, this.#monotonicMs);
  }

  /** Returns the device that it replaces. */
  put(device: LiveDevice, usage: TenantUsage): LiveDevice | undefined {
    const { tenant: name, deviceId } = device.lease;
    const tenant = this.#tenant(name, usage);
    const earlier = tenant.devices.get(deviceId);
    tenant.devices.set(deviceId, device);
    if (earlier !== undefined) return earlier;
    this.#claim(tenant, deviceId, 1);
    this.#size += 1;
    return undefined;
  }

  remove(device: LiveDevice): void {
    const { tenant: name, deviceId } = device.lease;
    const tenant = this.#tenants.get(name);
    if (tenant?.devices.get(deviceId) !== device) return;
    tenant.devices.delete(deviceId);
    this.#claim(tenant, deviceId, -1);
    this.#size -= 1;
  }

  *[Symbol.iterator](): Generator<LiveDevice> {
    for (const { devices } of this.#tenants.values()) yield* devices.values();
  }

  #tenant(name: string, usage = this.usageOf(name)): Tenant {
    const tenant = this.#tenants.get(name) ?? {
      name,
      usage,
      devices: new Map(),
      claims: new Map(),
    };
    this.#tenants.set(name, tenant);
    return tenant;
  }

  #claim({ name, claims }: Tenant, deviceId: string, change: 1 | -1): void {
    const count = (claims.get(deviceId) ?? 0) + change;
    if (count > 0) claims.set(deviceId, count);
    else claims.delete(deviceId);
    if (claims.size === 0) this.#tenants.delete(name);
  }
}
