import {
  devicePod,
  type Pods,
  podsOf,
  tenantPods,
} from '../../services/tool-relay/src/sharding/shard-of.ts';

export interface FleetOptions {
  readonly devices: number;
  /** The devices of tenant 0, which come on top of the ordinary tenants. */
  readonly joining: number;
  readonly pods: number;
  /** Pods of one tenant; undefined: no sharding. */
  readonly width: number | undefined;
  readonly minRttMs: number;
  readonly maxRttMs: number;
  readonly devicesPerAddress: number;
  readonly joiningPerAddress: number;
  readonly random: () => number;
}

export const NOWHERE = -1;
export const Phase = { rest: 0, underway: 1, accept: 2, tls: 3, proof: 4, lease: 5 } as const;

/** Sizes fall as 1 / (rank + 20): the largest of 5,000 has 0.9% of the fleet. */
const TENANTS = 5000;
const FLATTENING = 20;

/** What is known of each device, in typed arrays. */
export class Fleet {
  readonly size: number;
  readonly tenants = TENANTS;
  readonly tenant: Uint16Array;
  /** The pod with its live socket, and the one that it dials. */
  readonly live: Int16Array;
  readonly target: Int16Array;
  readonly attempt: Uint16Array;
  readonly phase: Uint8Array;
  readonly rttMs: Float32Array;
  /** Since when it has had no live socket; NaN where it has one or wants none. */
  readonly awaySinceMs: Float64Array;
  /** Neighbours in the queue of a pod. */
  readonly next: Int32Array;
  readonly previous: Int32Array;
  readonly #options: FleetOptions;
  readonly #allPods: Pods;
  readonly #homes: Int16Array;
  readonly #homesKnownAt: Uint16Array;
  #membership = 1;
  #members: Pods;
  #tenantPods = new Map<number, Pods>();

  constructor(options: FleetOptions) {
    const { devices, pods, random, minRttMs, maxRttMs } = options;
    this.#options = options;
    this.size = devices;
    this.tenant = new Uint16Array(devices);
    this.live = new Int16Array(devices).fill(NOWHERE);
    this.target = new Int16Array(devices).fill(NOWHERE);
    this.attempt = new Uint16Array(devices);
    this.phase = new Uint8Array(devices);
    this.rttMs = new Float32Array(devices);
    this.awaySinceMs = new Float64Array(devices).fill(Number.NaN);
    this.next = new Int32Array(devices).fill(NOWHERE);
    this.previous = new Int32Array(devices).fill(NOWHERE);
    this.#homes = new Int16Array(devices);
    this.#homesKnownAt = new Uint16Array(devices);
    this.#allPods = podsOf(Array.from({ length: pods }, (_, pod) => String(pod)));
    this.#members = this.#allPods;
    for (let device = 0; device < devices; device++) {
      this.rttMs[device] = minRttMs + random() * (maxRttMs - minRttMs);
    }
    this.#assignTenants();
  }

  isJoining(device: number): boolean {
    return device < this.#options.joining;
  }

  changeMembers(isMember: (pod: number) => boolean): void {
    this.#membership += 1;
    this.#members = this.#allPods.filter(({ id }) => isMember(Number(id)));
    this.#tenantPods = new Map();
  }

  /** The pod that the sharder wants it on; undefined without sharding. */
  home(device: number): number | undefined {
    const { width } = this.#options;
    if (width === undefined) return undefined;
    if (this.#homesKnownAt[device] !== this.#membership) {
      const tenant = this.tenant[device] ?? 0;
      const known = this.#tenantPods.get(tenant);
      const among = known ?? tenantPods(`tenant-${tenant}`, this.#members, width);
      if (known === undefined) this.#tenantPods.set(tenant, among);
      const name = { tenant: `tenant-${tenant}`, deviceId: `device-${device}` };
      this.#homes[device] = Number(devicePod(name, among));
      this.#homesKnownAt[device] = this.#membership;
    }
    return this.#homes[device];
  }

  /** Several devices of one place share an address. */
  address(device: number): string {
    const { joining, devicesPerAddress, joiningPerAddress } = this.#options;
    const isJoining = device < joining;
    const place = Math.floor(device / (isJoining ? joiningPerAddress : devicesPerAddress));
    return `${isJoining ? 100 : 10}.${(place >> 16) & 255}.${(place >> 8) & 255}.${place & 255}`;
  }

  #assignTenants(): void {
    const { joining } = this.#options;
    const weights = Array.from({ length: TENANTS }, (_, rank) => 1 / (rank + 1 + FLATTENING));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let device = joining;
    let reached = 0;
    for (const [rank, weight] of weights.entries()) {
      reached += weight;
      const end = joining + Math.round((reached / total) * (this.size - joining));
      // Tenant 0 are those that join.
      this.tenant.fill(rank + 1, device, end);
      device = end;
    }
  }
}
