import { Fate } from './death.ts';
import { SimDevice } from './device.ts';
import { SimHost } from './host.ts';
import { Network } from './network.ts';
import { SimRelay } from './relay.ts';
import type { Schedule, Step } from './schedule.ts';
import { Timeline } from './timeline.ts';
import { FAITHFUL, type Surroundings, type Variant } from './variant.ts';
import { checkEnd } from './verdict.ts';
import { Witness } from './witness.ts';

/** Longer than every deadline, retention and clock step together; time in which nothing happens is free. */
const HORIZON_MS = 30_000_000;
/** A machine that wakes more often than this at one moment would never sleep again. */
const MAX_WAKES_AT_ONCE = 1_000;

/** One device, one host and what lies between them. */
class World {
  readonly witness: Witness;
  readonly network: Network;
  readonly device: SimDevice;
  readonly host: SimHost;
  readonly #timeline = new Timeline();
  readonly #relay: SimRelay;
  readonly #variant: Variant;

  constructor(schedule: Schedule, variant: Variant) {
    this.#variant = variant;
    const timeline = this.#timeline;
    this.witness = new Witness();
    this.network = new Network(timeline, schedule);
    const { witness, network } = this;
    const fate = new Fate(schedule);
    this.device = new SimDevice({
      timeline,
      witness,
      fate,
      journalFor: variant.journalFor,
      beginsAt: variant.beginsAt,
      isClockSteady: variant.isClockSteady,
      servesBothSockets: variant.servesBothSockets,
      skewMs: skewOf(schedule, 'device'),
      send: (frame) =>
        network.carry(frame, (it) => this.host.hear(variant.toHost(it, this.#surroundings))),
      onStart: () => this.#relay.connect(),
      onStop: () => this.#relay.deviceGone(),
    });
    this.host = new SimHost({
      timeline,
      witness,
      fate,
      send: (frame) =>
        network.carry(variant.fromHost(frame, this.#surroundings), (it) => {
          const isDropped = this.#relay.isLeft(it.epoch) && !variant.servesBothSockets;
          if (!isDropped) this.device.hear(variant.toDevice(it, this.#surroundings));
        }),
      onStart: () => this.#relay.tellRoute(),
      skewMs: skewOf(schedule, 'host'),
      recordsIntentFirst: variant.recordsIntentFirst,
      onSettled: (callId, { status }) => {
        const plan = witness.calls.get(callId)?.plan;
        const isRetried = variant.retriesUnknown && status === 'unknown' && callId.startsWith('0');
        if (plan && isRetried) this.host.call(`f${callId.slice(1)}`, plan);
      },
    });
    this.#relay = new SimRelay(timeline, this, variant.routeFor);
    for (const step of schedule) this.#plan(step);
  }

  run(): void {
    this.device.start();
    let wakes = 0;
    while (this.witness.violations.length === 0) {
      const nextMs = Math.max(this.#timeline.nowMs, Math.min(this.#timeline.nextMs, this.#wakeMs));
      if (nextMs > HORIZON_MS) break;
      wakes = nextMs > this.#timeline.nowMs ? 0 : wakes + 1;
      if (wakes > MAX_WAKES_AT_ONCE) this.witness.violate('?', 'never sleeps again');
      this.#timeline.nowMs = nextMs;
      if (this.#timeline.nextMs <= nextMs) this.#timeline.runNext();
      if (this.#wakeMs <= nextMs) this.#wake();
    }
  }

  get #wakeMs(): number {
    const hostMs = this.#variant.hostTicks ? this.host.nextWakeMs : Number.POSITIVE_INFINITY;
    return Math.min(hostMs, this.device.nextWakeMs);
  }

  #wake(): void {
    if (this.#variant.hostTicks) this.host.tick();
    this.device.tick();
    for (const callId of this.host.overdue())
      this.witness.violate(callId, 'has no outcome in time');
  }

  get #surroundings(): Surroundings {
    const { journal, epoch, nowMs: deviceMs } = this.device;
    return { journalId: journal.id, epoch, deviceMs };
  }

  #stepClock({ of, byMs, forMs }: Extract<Step, { do: 'clock' }>): void {
    const end = of === 'host' ? this.host : this.device;
    end.stepClock(byMs);
    if (forMs > 0) this.#timeline.after(forMs, () => end.stepClock(-byMs));
  }

  #plan(step: Step): void {
    if ('atMs' in step) this.#timeline.after(step.atMs, () => this.#do(step));
  }

  #do(step: Extract<Step, { atMs: number }>): void {
    switch (step.do) {
      case 'call':
        this.host.call(callIdOf(step.call), step);
        break;
      case 'cancel':
        this.host.cancel(callIdOf(step.call));
        break;
      case 'cut':
        this.#relay.cut(step.downMs, step.isTold);
        break;
      case 'relay crash':
        this.#relay.crash(step.downMs);
        break;
      case 'hand-over':
        this.#relay.handOver(step.failsMs);
        break;
      case 'host crash':
        this.host.crash(step);
        break;
      case 'bridge crash':
        this.device.crash(step);
        break;
      case 'rollback':
        this.device.rollBack(step.downMs, step.lost);
        break;
      case 'restart':
        this.device.restart(step.downMs);
        break;
      case 'wipe':
        this.device.wipe(step.downMs);
        break;
      case 'full disk':
        this.device.fillDisk(step.forMs);
        break;
      case 'clock':
        this.#stepClock(step);
        break;
      case 'sleep':
        this.device.sleep(step.forMs);
        break;
    }
  }
}

/** Plays a schedule to its end, and returns everything that was seen. */
export function runOf(schedule: Schedule, variant: Partial<Variant> = {}): Witness {
  const world = new World(schedule, { ...FAITHFUL, ...variant });
  world.run();
  if (world.witness.violations.length === 0) checkEnd(world, schedule);
  return world.witness;
}

/** What the protocol promised and did not hold; nothing when all is well. */
export function violationsOf(schedule: Schedule, variant: Partial<Variant> = {}): string[] {
  return runOf(schedule, variant).violations;
}

function skewOf(schedule: Schedule, end: 'host' | 'device'): number {
  return schedule.reduce(
    (sumMs, step) => (step.do === 'skew' && step.of === end ? sumMs + step.byMs : sumMs),
    0,
  );
}

function callIdOf(call: number): string {
  return (call + 1).toString(16).padStart(32, '0');
}
