import { Backoff } from '@zerolatency/service/backoff';
import { Bucket } from '@zerolatency/service/network';
import { NOWHERE, Phase } from './fleet.ts';
import type { Pod } from './pod.ts';
import { Kind, type World } from './world.ts';

/** The default of Node's servers; the kernel drops the SYN of a connection beyond it. */
const LISTEN_BACKLOG = 511;
/** Linux sends a SYN again after 1 s, and then after twice as long each time. */
const FIRST_SYN_RETRY_MS = 1000;
/** The bridge gives up after `relay.handshake`, 10 s, so a fourth SYN comes too late. */
const MAX_SYN_RETRIES = 3;

/** Devices on their way to a live socket: a bridge's side, and the pod's gates and its core. */
export class Dialling {
  /** Called when a pod has lost its last device. */
  onEmptied: (pod: number) => void = () => {};
  readonly #world: World;
  readonly #backoffs = new Map<number, Backoff>();
  readonly #synRetries: Uint8Array;
  readonly #accepts: readonly Bucket[];
  readonly #current: Int32Array;
  readonly #diallers: DiallingMachine;

  constructor(world: World) {
    this.#world = world;
    const { acceptsPerSecond: perSecond } = world.setup;
    this.#synRetries = new Uint8Array(world.fleet.size);
    // Half a second of dials may arrive at once.
    const rate = { perSecond, burst: perSecond / 2 };
    this.#accepts = world.pods.map(() => new Bucket(rate, 0));
    this.#current = new Int32Array(world.pods.length).fill(NOWHERE);
    this.#diallers = new DiallingMachine(world);
  }

  /** By way of the balancer, unless a pod is named. */
  dial(device: number, to?: number): void {
    const { fleet, offered, random, observer } = this.#world;
    const pod = to ?? offered[Math.floor(random() * offered.length)] ?? NOWHERE;
    fleet.attempt[device] = (fleet.attempt[device] ?? 0) + 1;
    fleet.phase[device] = Phase.underway;
    fleet.target[device] = pod;
    this.#synRetries[device] = 0;
    observer.dials += 1;
    this.#world.after(1.5 * this.#world.rttMs(device), Kind.arrive, device);
  }

  /** The last ACK of TCP, and the ClientHello right behind it. */
  arrive(device: number): void {
    const target = this.#world.fleet.target[device] ?? NOWHERE;
    const pod = this.#world.pods[target];
    if (pod === undefined || !pod.isUp) {
      this.end(device);
      return;
    }
    if (pod.unaccepted >= LISTEN_BACKLOG) {
      const retries = this.#synRetries[device] ?? 0;
      this.#synRetries[device] = retries + 1;
      if (retries >= MAX_SYN_RETRIES) this.end(device);
      else this.#world.after(FIRST_SYN_RETRY_MS * 2 ** retries, Kind.arrive, device);
      return;
    }
    pod.unaccepted += 1;
    pod.dials += 1;
    this.#wait(device, Phase.accept);
  }

  hello(device: number): void {
    this.#wait(device, Phase.proof);
  }

  /** The pod's core is done with a job. */
  worked(index: number): void {
    const pod = this.#world.pod(index);
    pod.isBusy = false;
    const device = this.#current[index] ?? NOWHERE;
    this.#current[index] = NOWHERE;
    if (device !== NOWHERE) this.#advance(device, index);
    this.#work(index);
  }

  /** The machine of the devices is done with one of them. */
  dialled(): void {
    this.#diallers.done();
  }

  late(device: number): void {
    this.#world.observer.refused += 1;
    this.end(device);
  }

  leased(device: number): void {
    const { fleet, redis, nowMs, setup, observer } = this.#world;
    const target = fleet.target[device] ?? NOWHERE;
    const before = fleet.live[device] ?? NOWHERE;
    this.#world.pod(target).proved(device);
    fleet.attempt[device] = (fleet.attempt[device] ?? 0) + 1;
    fleet.phase[device] = Phase.rest;
    this.#world.place(device, target);
    this.#backoffs.delete(device);
    observer.back(device);
    const master = redis.masterOf(fleet.tenant[device] ?? 0);
    if (!redis.isAway(nowMs)) {
      // A host that talks to it locates it anew.
      redis.run(master, { count: 1, us: setup.costs.redisLocate }, nowMs);
      if (before !== NOWHERE) redis.run(master, { count: 1, us: setup.costs.redisRelease }, nowMs);
    }
    if (before !== NOWHERE && this.#world.pod(before).live === 0) this.onEmptied(before);
  }

  /** The device has learnt that its attempt failed. */
  failed(device: number): void {
    const known = this.#backoffs.get(device);
    const backoff = known ?? new Backoff(this.#world.setup.backoff, this.#world.random);
    if (known === undefined) this.#backoffs.set(device, backoff);
    this.#world.after(backoff.nextMs(), Kind.dial, device);
  }

  /** Its live socket broke. It notices half a round trip later. */
  lost(device: number): void {
    const { fleet, setup, random, observer } = this.#world;
    this.#world.place(device, NOWHERE);
    observer.lost(device);
    if (fleet.phase[device] !== Phase.rest) return;
    const noticedMs = this.#world.rttMs(device) / 2;
    fleet.attempt[device] = (fleet.attempt[device] ?? 0) + 1;
    fleet.phase[device] = Phase.underway;
    fleet.target[device] = NOWHERE;
    if (setup.firstDialWithinMs === 0) this.#world.after(noticedMs, Kind.failed, device);
    else this.#world.after(noticedMs + random() * setup.firstDialWithinMs, Kind.dial, device);
  }

  /** Ends an attempt, wherever it is; the device dials again after its backoff. */
  end(device: number): void {
    const { fleet } = this.#world;
    const target = fleet.target[device] ?? NOWHERE;
    const pod = this.#world.pods[target];
    if (pod?.isUp) this.#leave(device, target, pod);
    fleet.attempt[device] = (fleet.attempt[device] ?? 0) + 1;
    fleet.phase[device] = Phase.underway;
    fleet.target[device] = NOWHERE;
    this.#world.after(this.#world.rttMs(device) / 2, Kind.failed, device);
  }

  /** The pod has lost its process, and with it what it worked on. */
  forgetWork(index: number): void {
    this.#current[index] = NOWHERE;
  }

  #leave(device: number, index: number, pod: Pod): void {
    const phase = this.#world.fleet.phase[device];
    if (phase === Phase.accept || phase === Phase.tls || phase === Phase.proof) {
      if (this.#current[index] === device) this.#current[index] = NOWHERE;
      else pod.dequeue(device);
      if (phase === Phase.accept) pod.unaccepted -= 1;
    }
    pod.gone(device);
  }

  #wait(device: number, phase: number): void {
    const { fleet } = this.#world;
    const target = fleet.target[device] ?? NOWHERE;
    fleet.phase[device] = phase;
    this.#world.pod(target).enqueue(device);
    this.#work(target);
  }

  #work(index: number): void {
    const pod = this.#world.pod(index);
    const device = pod.first;
    if (pod.isBusy || device === NOWHERE) return;
    pod.dequeue(device);
    pod.isBusy = true;
    this.#current[index] = device;
    const { costs } = this.#world.setup;
    const phase = this.#world.fleet.phase[device];
    const us =
      phase === Phase.accept ? costs.refuse : phase === Phase.tls ? costs.tls : costs.proof;
    pod.busyMs += us / 1000;
    const heldMs = Math.max(0, pod.renewingUntilMs - this.#world.nowMs);
    const workMs = us / 1000 / (1 - this.#world.baseShare(pod));
    this.#world.after(heldMs + workMs, Kind.work, index);
  }

  #advance(device: number, index: number): void {
    const { fleet, setup } = this.#world;
    const phase = fleet.phase[device];
    if (phase === Phase.accept) this.#accept(device, index);
    else if (phase === Phase.tls) {
      fleet.phase[device] = Phase.underway;
      if (setup.isOneClient) this.#diallers.add(device);
      else this.#world.after(2 * this.#world.rttMs(device), Kind.hello, device);
    } else this.#prove(device, index);
  }

  #accept(device: number, index: number): void {
    const { nowMs, observer, setup } = this.#world;
    const pod = this.#world.pod(index);
    pod.unaccepted -= 1;
    this.#world.fleet.phase[device] = Phase.underway;
    const mayEnter = this.#accepts[index]?.take(nowMs) === true && !pod.isDraining;
    const cut = () => {
      observer.refused += 1;
      this.end(device);
    };
    if (!mayEnter || !pod.admit(device, cut)) {
      cut();
      return;
    }
    this.#world.after(setup.relay.handshakeMs, Kind.late, device);
    this.#wait(device, Phase.tls);
  }

  #prove(device: number, index: number): void {
    const { fleet, redis, nowMs, setup, observer } = this.#world;
    const home = fleet.home(device);
    if (home !== undefined && home !== index) {
      this.#world.pod(index).proved(device);
      fleet.attempt[device] = (fleet.attempt[device] ?? 0) + 1;
      fleet.phase[device] = Phase.underway;
      this.#world.after(this.#world.rttMs(device) / 2, Kind.redirected, device);
      return;
    }
    if (!this.#world.hasRoom(device, index)) {
      observer.refused += 1;
      this.end(device);
      return;
    }
    fleet.phase[device] = Phase.lease;
    const master = redis.masterOf(fleet.tenant[device] ?? 0);
    const doneMs = redis.isAway(nowMs)
      ? nowMs
      : redis.run(master, { count: 1, us: setup.costs.redisAcquire }, nowMs);
    this.#world.after(doneMs - nowMs + setup.network.redisRttMs, Kind.leased, device);
  }
}

/** The one machine that all devices of a validation run on; it drops work on sockets that are gone. */
class DiallingMachine {
  readonly #world: World;
  /** A device and its attempt, in turns. */
  #waiting: number[] = [];
  #next = 0;
  #isBusy = false;

  constructor(world: World) {
    this.#world = world;
  }

  add(device: number): void {
    this.#waiting.push(device, this.#world.fleet.attempt[device] ?? 0);
    if (!this.#isBusy) this.#start();
  }

  done(): void {
    this.#isBusy = false;
    const device = this.#isCurrent(this.#next);
    this.#next += 2;
    if (device !== undefined) {
      this.#world.after(2 * this.#world.rttMs(device), Kind.hello, device);
    }
    this.#start();
  }

  #start(): void {
    while (this.#next < this.#waiting.length && this.#isCurrent(this.#next) === undefined) {
      this.#next += 2;
    }
    if (this.#next >= this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
      return;
    }
    this.#isBusy = true;
    const { clientTls, clientProof } = this.#world.setup.costs;
    this.#world.after((clientTls + clientProof) / 1000, Kind.dialler, 0);
  }

  #isCurrent(place: number): number | undefined {
    const device = this.#waiting[place] ?? NOWHERE;
    return this.#world.fleet.attempt[device] === this.#waiting[place + 1] ? device : undefined;
  }
}
