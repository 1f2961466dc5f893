import { hash } from 'node:crypto';

interface Key {
  readonly high: number;
  readonly low: number;
}

interface Pod {
  readonly id: string;
  readonly key: Key;
}

/** Relay pods with their keys, which are computed once for each change of membership. */
export type Pods = readonly Pod[];

export interface ShardedDevice {
  readonly tenant: string;
  readonly deviceId: string;
}

/** The odd constants of MurmurHash3's finalizer, and 2^32 divided by the golden ratio. */
const MIX_1 = 0x85ebca6b;
const MIX_2 = 0xc2b2ae35;
const GOLDEN = 0x9e3779b1;
/** A score fills the 53 bits of an integer that a number holds exactly. */
const LOW_BITS = 21;

/** The order of the ids is of no consequence. */
export function podsOf(ids: readonly string[]): Pods {
  return ids.map((id) => ({ id, key: keyOf('pod', id) }));
}

/**
 * The pod that a device belongs to, by rendezvous hashing: of its tenant's pods the one with the
 * highest score for the device. When a pod leaves, only its devices move. Every pod and every release
 * must agree on the answer, so the hash and the keys are final: another hash is a migration.
 */
export function shardOf(device: ShardedDevice, pods: Pods, width: number): string | undefined {
  return devicePod(device, tenantPods(device.tenant, pods, width));
}

/** Shuffle sharding: a tenant's pods are the `width` with the highest scores, best first. */
export function tenantPods(tenant: string, pods: Pods, width: number): Pods {
  const key = keyOf('tenant', tenant);
  return pods
    .map((pod) => ({ pod, score: scoreOf(key, pod.key) }))
    .sort((a, b) => b.score - a.score || (a.pod.id < b.pod.id ? -1 : 1))
    .slice(0, width)
    .map(({ pod }) => pod);
}

export function devicePod({ tenant, deviceId }: ShardedDevice, among: Pods): string | undefined {
  // A name of a tenant holds no slash.
  const key = keyOf('device', `${tenant}/${deviceId}`);
  let best: Pod | undefined;
  let highest = -1;
  for (const pod of among) {
    const score = scoreOf(key, pod.key);
    if (score < highest || (score === highest && best !== undefined && best.id < pod.id)) continue;
    best = pod;
    highest = score;
  }
  return best?.id;
}

/** The first 64 bits of a SHA-256; the kind keeps names that are equal apart. */
function keyOf(kind: 'pod' | 'tenant' | 'device', name: string): Key {
  const digest = hash('sha256', `${kind} ${name}`, 'buffer');
  return { high: digest.readUInt32BE(0), low: digest.readUInt32BE(4) };
}

/** Mixes two keys to 53 bits. The keys are uniform already, so mixing 32 bits at a time is enough. */
function scoreOf(key: Key, pod: Key): number {
  const high = mixed((key.high ^ pod.high) + Math.imul(key.low ^ pod.low, GOLDEN));
  const low = mixed((key.low ^ pod.low) + Math.imul(high, MIX_1));
  return high * 2 ** LOW_BITS + (low >>> (32 - LOW_BITS));
}

function mixed(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), MIX_1);
  bits = Math.imul(bits ^ (bits >>> 13), MIX_2);
  return (bits ^ (bits >>> 16)) >>> 0;
}
