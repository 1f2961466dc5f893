import { Dialling } from './dialling.ts';
import type { SimEvent } from './event-queue.ts';
import { NOWHERE, Phase } from './fleet.ts';
import { type Result, TICK_MS } from './observer.ts';
import { PodLife } from './pod-life.ts';
import type { Setup } from './setup.ts';
import { Kind, World } from './world.ts';

/** A steady fleet, to which a scenario does something. */
export class Simulation {
  readonly world: World;
  readonly life: PodLife;
  readonly #dialling: Dialling;

  constructor(setup: Setup) {
    this.world = new World(setup);
    this.#dialling = new Dialling(this.world);
    this.life = new PodLife(this.world, this.#dialling);
    this.#settle();
    this.world.after(TICK_MS, Kind.tick, 0);
  }

  /** Every device that is not connected yet dials within this time. */
  joinWithin(ms: number): void {
    const { fleet, observer, random } = this.world;
    for (let device = 0; device < fleet.size; device++) {
      if (!fleet.isJoining(device)) continue;
      observer.lost(device);
      fleet.phase[device] = Phase.underway;
      this.world.after(random() * ms, Kind.dial, device);
    }
  }

  /** Runs until every device is back and nothing changes any more, and at least for a time. */
  run(atLeastMs: number): Result {
    const { world } = this;
    const event: SimEvent = { atMs: 0, kind: 0, subject: 0, attempt: 0 };
    while (world.queue.pop(event)) {
      world.nowMs = event.atMs;
      const isOfDevice = event.kind < Kind.work;
      if (isOfDevice && event.attempt !== world.fleet.attempt[event.subject]) continue;
      if (event.kind === Kind.tick) {
        world.observer.tick();
        const isOver = world.observer.away === 0 && !this.life.isChanging;
        if ((isOver && world.nowMs >= atLeastMs) || world.nowMs >= world.setup.maxMs) break;
        world.after(TICK_MS, Kind.tick, 0);
      } else this.#handle(event.kind, event.subject);
    }
    const result = world.observer.result();
    // Their timers would keep the process.
    for (const pod of world.pods) pod.restart();
    return result;
  }

  #handle(kind: number, subject: number): void {
    if (kind < Kind.work) this.#handleDevice(kind, subject);
    else if (kind === Kind.work) this.#dialling.worked(subject);
    else if (kind === Kind.notice) this.life.notice();
    else if (kind === Kind.drain) this.life.drain(subject);
    else if (kind === Kind.stop) this.life.stop(subject);
    else if (kind === Kind.up) this.life.up(subject);
    else if (kind === Kind.renew) this.life.renew(subject);
    else if (kind === Kind.renewed) this.life.renewed(subject);
    else if (kind === Kind.dialler) this.#dialling.dialled();
  }

  #handleDevice(kind: number, device: number): void {
    if (kind === Kind.dial) this.#dialling.dial(device);
    else if (kind === Kind.arrive) this.#dialling.arrive(device);
    else if (kind === Kind.hello) this.#dialling.hello(device);
    else if (kind === Kind.late) this.#dialling.late(device);
    else if (kind === Kind.leased) this.#dialling.leased(device);
    else if (kind === Kind.failed) this.#dialling.failed(device);
    else if (kind === Kind.redirected) this.#dialling.dial(device, this.world.fleet.home(device));
    else if (kind === Kind.move) this.life.move(device);
  }

  #settle(): void {
    const { fleet, pods, random } = this.world;
    for (let device = 0; device < fleet.size; device++) {
      if (fleet.isJoining(device)) continue;
      const pod = fleet.home(device) ?? Math.floor(random() * pods.length);
      this.world.place(device, pod ?? NOWHERE);
    }
  }
}
