import { LRUCache } from 'lru-cache';
import type { Membership } from './membership.ts';
import { devicePod, type Pods, type ShardedDevice, tenantPods } from './shard-of.ts';

/** About 1 KB each in a pool of fifty pods and a width of eight. */
const MAX_TENANTS = 10_000;

/** Where the devices that are here belong. */
export interface Shards {
  /** Where the device should be instead; undefined where it should not be sent away. */
  elsewhere(device: ShardedDevice): string | undefined;
}

/** Any pod serves any device. */
export const NO_SHARDS: Shards = { elsewhere: () => undefined };

export class PodShards implements Shards {
  readonly #own: string;
  readonly #width: number;
  readonly #membership: Membership;
  /** Kept for one generation: choosing them takes longer than choosing among them. */
  readonly #tenantPods = new LRUCache<string, Pods>({ max: MAX_TENANTS });
  #generation = -1;

  constructor(own: string, width: number, membership: Membership) {
    this.#own = own;
    this.#width = width;
    this.#membership = membership;
  }

  belongsHere(device: ShardedDevice): boolean {
    return this.#podOf(device) === this.#own;
  }

  elsewhere(device: ShardedDevice): string | undefined {
    const pod = this.#podOf(device);
    return pod === this.#own ? undefined : this.#membership.deviceUrlOf(pod);
  }

  #podOf(device: ShardedDevice): string {
    return devicePod(device, this.#podsOf(device.tenant)) ?? this.#own;
  }

  #podsOf(tenant: string): Pods {
    const { generation, members } = this.#membership;
    if (generation !== this.#generation) this.#tenantPods.clear();
    this.#generation = generation;
    const known = this.#tenantPods.get(tenant);
    if (known !== undefined) return known;
    const pods = tenantPods(tenant, members, this.#width);
    this.#tenantPods.set(tenant, pods);
    return pods;
  }
}
