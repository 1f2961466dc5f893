import type { Dialling } from './dialling.ts';
import { NOWHERE, Phase } from './fleet.ts';
import { Kind, type World } from './world.ts';

/** A deploy waits for a pod's devices, and then this long, before it replaces the next. */
const SETTLE_MS = 2_000;
/** The share of a drain's deadline for the devices; what closes after them needs the rest. */
const TELLING_SHARE = 0.8;
/** Leases that a pod renews in one batch, as LeaseKeeper does. */
const BATCH = 1000;
const RENEWALS_PER_TTL = 3;

/** Pods that die, drain and come back, and their leases. */
export class PodLife {
  /** A deploy or a rebuild is under way. */
  isChanging = false;
  readonly #world: World;
  readonly #dialling: Dialling;
  /** Pods that have to write their leases after Redis was away. */
  readonly #unwritten = new Set<number>();

  constructor(world: World, dialling: Dialling) {
    this.#world = world;
    this.#dialling = dialling;
    dialling.onEmptied = (pod) => {
      if (this.#world.pod(pod).isDraining) this.#world.after(0, Kind.stop, pod);
    };
  }

  /** The balancer notices later, and so does the membership. */
  kill(indexes: readonly number[]): void {
    for (const index of indexes) this.#take(index);
    this.#world.after(this.#world.setup.network.balancerNoticesMs, Kind.notice, 0);
  }

  notice(): void {
    const { pods, fleet } = this.#world;
    const isOffered = (index: number) =>
      pods[index]?.isUp === true && !this.#world.pod(index).isDraining;
    this.#world.offered = pods.map((_, index) => index).filter(isOffered);
    fleet.changeMembers(isOffered);
  }

  drain(index: number): void {
    this.isChanging = true;
    this.#world.pod(index).isDraining = true;
    this.notice();
    const { random, setup } = this.#world;
    const { shedPerSecond, jitterMs, closeAfterMs, deadlineMs, isMakeBeforeBreak } = setup.drain;
    const devices = shuffled(this.#liveOn(index), random);
    const wantedMs = (devices.length / shedPerSecond) * 1000;
    const tellingMs = Math.min(wantedMs, deadlineMs * TELLING_SHARE - closeAfterMs);
    for (const [place, device] of devices.entries()) {
      const toldMs = (place / devices.length) * tellingMs + this.#world.rttMs(device) / 2;
      // Without the hand-over the device leaves at once, and waits then.
      const waitMs = isMakeBeforeBreak ? random() * jitterMs : 0;
      this.#world.after(toldMs + waitMs, Kind.move, device);
    }
    this.#world.after(tellingMs + closeAfterMs, Kind.stop, index);
  }

  move(device: number): void {
    const { fleet, random, setup, observer } = this.#world;
    const from = fleet.live[device] ?? NOWHERE;
    const home = fleet.home(device);
    const mustMove = from !== NOWHERE && (this.#world.pod(from).isDraining || home !== undefined);
    if (!mustMove || home === from || fleet.phase[device] !== Phase.rest) return;
    if (setup.drain.isMakeBeforeBreak) {
      this.#dialling.dial(device, home);
      return;
    }
    this.#world.place(device, NOWHERE);
    observer.lost(device);
    fleet.phase[device] = Phase.underway;
    fleet.attempt[device] = (fleet.attempt[device] ?? 0) + 1;
    this.#world.after(random() * setup.drain.jitterMs, Kind.dial, device);
    if (this.#world.pod(from).live === 0) this.#world.after(0, Kind.stop, from);
  }

  stop(index: number): void {
    if (!this.#world.pod(index).isDraining) return;
    this.#take(index);
    this.notice();
    this.#world.after(this.#world.setup.network.podStartMs, Kind.up, index);
  }

  up(index: number): void {
    const { setup } = this.#world;
    this.#world.pod(index).isUp = true;
    this.notice();
    const returning = setup.width === undefined ? 0 : this.#callBack(index);
    const next = index + 1;
    const settledMs = (returning / setup.drain.returnPerSecond) * 1000 + SETTLE_MS;
    if (next < setup.drain.pods) this.#world.after(settledMs, Kind.drain, next);
    else this.isChanging = false;
  }

  loseRedis(forMs: number): void {
    const { redis, nowMs, setup, random } = this.#world;
    redis.awayUntilMs = nowMs + forMs;
    this.isChanging = true;
    for (const index of this.#world.pods.keys()) {
      this.#unwritten.add(index);
      this.#world.after(forMs + random() * setup.rebuildWithinMs, Kind.renew, index);
    }
  }

  /** Pods renew at times of their own, and again after each interval. */
  startRenewals(forMs: number): void {
    const intervalMs = this.#world.setup.relay.leaseTtlMs / RENEWALS_PER_TTL;
    for (const index of this.#world.pods.keys()) {
      const firstMs = this.#world.random() * intervalMs;
      for (let atMs = firstMs; atMs < forMs; atMs += intervalMs) {
        this.#world.after(atMs, Kind.renew, index);
      }
    }
  }

  renew(index: number): void {
    const { redis, nowMs } = this.#world;
    const pod = this.#world.pod(index);
    if (redis.isAway(nowMs) || pod.renewalsLeft > 0) return;
    pod.renewalsLeft = pod.live;
    this.renewed(index);
  }

  /** A batch is written; sends the next one. */
  renewed(index: number): void {
    const { redis, nowMs, setup, observer } = this.#world;
    const pod = this.#world.pod(index);
    const count = Math.min(BATCH, pod.renewalsLeft);
    if (count === 0) {
      this.#unwritten.delete(index);
      this.isChanging = this.#unwritten.size > 0;
      return;
    }
    pod.renewalsLeft -= count;
    const podMs = (count * setup.costs.renewOnPod) / 1000;
    pod.busyMs += podMs;
    pod.renewingUntilMs = Math.max(nowMs, pod.renewingUntilMs) + podMs;
    // The tenants of a batch lie on all masters.
    const share = { count: count / redis.masters, us: setup.costs.redisRenew };
    let doneMs = nowMs + podMs;
    for (let master = 0; master < redis.masters; master++) {
      doneMs = Math.max(doneMs, redis.run(master, share, nowMs + podMs));
    }
    const writtenMs = doneMs - nowMs + setup.network.redisRttMs;
    if (this.#unwritten.has(index))
      observer.rewritten(count, nowMs + writtenMs - redis.awayUntilMs);
    this.#world.after(writtenMs, Kind.renewed, index);
  }

  /** The process ends: its devices lose their sockets, and those that dial it their attempt. */
  #take(index: number): void {
    const { fleet } = this.#world;
    const pod = this.#world.pod(index);
    pod.isUp = false;
    pod.isDraining = false;
    for (let device = 0; device < fleet.size; device++) {
      const isUnderway = fleet.phase[device] !== Phase.rest;
      if (fleet.target[device] === index && isUnderway) this.#dialling.end(device);
      if (fleet.live[device] === index) this.#dialling.lost(device);
    }
    this.#dialling.forgetWork(index);
    pod.restart();
  }

  /** Sharding: what belongs to the pod comes back to it. Returns how many. */
  #callBack(index: number): number {
    const { fleet, random, setup } = this.#world;
    const away: number[] = [];
    for (let device = 0; device < fleet.size; device++) {
      if (fleet.home(device) === index && fleet.live[device] !== NOWHERE) away.push(device);
    }
    for (const [place, device] of shuffled(away, random).entries()) {
      this.#world.after((place / setup.drain.returnPerSecond) * 1000, Kind.move, device);
    }
    return away.length;
  }

  #liveOn(index: number): number[] {
    const { fleet } = this.#world;
    const devices: number[] = [];
    for (let device = 0; device < fleet.size; device++) {
      if (fleet.live[device] === index) devices.push(device);
    }
    return devices;
  }
}

function shuffled(devices: number[], random: () => number): number[] {
  for (let last = devices.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const moved = devices[last] ?? 0;
    devices[last] = devices[other] ?? 0;
    devices[other] = moved;
  }
  return devices;
}
