import { EventQueue } from './event-queue.ts';
import { Fleet, NOWHERE } from './fleet.ts';
import { Observer } from './observer.ts';
import { Pod } from './pod.ts';
import { RedisCluster } from './redis-cluster.ts';
import type { Setup } from './setup.ts';

export const Kind = {
  dial: 0,
  arrive: 1,
  hello: 2,
  late: 3,
  leased: 4,
  failed: 5,
  redirected: 6,
  move: 7,
  work: 8,
  notice: 9,
  drain: 10,
  stop: 11,
  up: 12,
  renew: 13,
  renewed: 14,
  tick: 15,
  dialler: 16,
} as const;

export type Kind = (typeof Kind)[keyof typeof Kind];

/** What the handlers of events share. */
export class World {
  nowMs = 0;
  readonly setup: Setup;
  readonly random: () => number;
  readonly fleet: Fleet;
  readonly pods: readonly Pod[];
  readonly queue = new EventQueue();
  readonly redis: RedisCluster;
  readonly observer: Observer;
  /** Pods that the balancer sends devices to. */
  offered: number[];
  readonly #tenantDevices: Int32Array;

  constructor(setup: Setup) {
    this.setup = setup;
    this.random = seeded(setup.seed);
    this.fleet = new Fleet({ ...setup, ...setup.network, random: this.random });
    const nowMs = () => this.nowMs;
    this.pods = Array.from(
      { length: setup.pods },
      () => new Pod({ ...setup.relay, fleet: this.fleet, nowMs }),
    );
    this.offered = this.pods.map((_, index) => index);
    this.redis = new RedisCluster(setup.network.redisMasters);
    this.#tenantDevices = new Int32Array((this.fleet.tenants + 1) * setup.pods);
    this.observer = new Observer(this);
  }

  after(delayMs: number, kind: Kind, subject: number): void {
    const ofDevice = kind < Kind.work;
    const attempt = ofDevice ? (this.fleet.attempt[subject] ?? 0) : 0;
    this.queue.push({ atMs: this.nowMs + delayMs, kind, subject, attempt });
  }

  pod(index: number): Pod {
    const pod = this.pods[index];
    if (pod === undefined) throw new Error(`there is no pod ${index}`);
    return pod;
  }

  rttMs(device: number): number {
    return this.fleet.rttMs[device] ?? 0;
  }

  /** Puts the device's live socket on a pod, or on none. */
  place(device: number, pod: number): void {
    const { fleet } = this;
    const before = fleet.live[device] ?? NOWHERE;
    if (before !== NOWHERE) this.#count(device, before, -1);
    if (pod !== NOWHERE) this.#count(device, pod, 1);
    fleet.live[device] = pod;
  }

  hasRoom(device: number, pod: number): boolean {
    const { maxDevices, maxTenantDevices } = this.setup.relay;
    const tenant = this.fleet.tenant[device] ?? 0;
    const ofTenant = this.#tenantDevices[tenant * this.pods.length + pod] ?? 0;
    return this.pod(pod).live < maxDevices && ofTenant < maxTenantDevices;
  }

  /** The share of a pod's core that live devices take: calls, heartbeats and renewals. */
  baseShare(pod: Pod): number {
    const { costs, relay, network, areRenewalsEvents } = this.setup;
    const renewals = areRenewalsEvents ? 0 : costs.renewOnPod / (relay.leaseTtlMs / 3);
    const usPerMs =
      renewals + costs.heartbeat / relay.heartbeatMs + (network.callsPerSecond * costs.call) / 1000;
    return Math.min(0.95, (pod.live * usPerMs) / 1000);
  }

  #count(device: number, pod: number, change: 1 | -1): void {
    const index = (this.fleet.tenant[device] ?? 0) * this.pods.length + pod;
    this.#tenantDevices[index] = (this.#tenantDevices[index] ?? 0) + change;
    this.pod(pod).live += change;
  }
}

/** Mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
