import { ZlError } from '@zerolatency/errors';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { Callee, type CalleeCall, type Journal } from '../../src/index.ts';
import { type Fate, live } from './death.ts';
import { DiskJournal } from './disk-journal.ts';
import type { CallPlan } from './schedule.ts';
import { CLOCK_START_MS, type Timeline } from './timeline.ts';
import type { Witness } from './witness.ts';

const RETENTION_MS = 500;
/** Fewer than the calls of some schedules, so that a device can be full. */
export const MAX_ENTRIES = 2;
const ABORT_MS = 3;
/** How soon after a sleep the bridge's timer looks at the clock again. */
export const WAKING_MS = 1_000;
/** A key in hardware takes its time. */
const SEAL_MS = 2;

export interface DeviceParts {
  readonly timeline: Timeline;
  readonly witness: Witness;
  readonly fate: Fate;
  /** As the callee sees its journal. */
  readonly journalFor: (disk: Journal) => Journal;
  readonly beginsAt: (nowMs: number) => number;
  readonly isClockSteady: boolean;
  readonly servesBothSockets: boolean;
  /** How far its time of day is off. */
  readonly skewMs: number;
  readonly send: (frame: Frame) => void;
  /** The bridge runs and wants a route. */
  readonly onStart: () => void;
  readonly onStop: () => void;
}

/** A machine with a disk and a bridge on it, whose tools act when they begin. */
export class SimDevice {
  readonly #parts: DeviceParts;
  #wipes = 0;
  #disk: DiskJournal;
  #callee: Callee | undefined;
  /** The one of the socket before, where a variant serves both. */
  #former: Callee | undefined;
  #epoch: number | undefined;
  #life = 0;
  /** What its time of day adds to true time. */
  #clockMs: number;
  /** What its bridge's clock adds: the time of day at its start, and unchanged from then on. */
  #steadyMs = 0;
  readonly #begun = new Set<string>();
  #sleptMs = 0;
  #awakeAtMs = 0;

  constructor(parts: DeviceParts) {
    this.#parts = parts;
    this.#clockMs = CLOCK_START_MS + parts.skewMs;
    this.#disk = this.#freshDisk();
  }

  get journal(): DiskJournal {
    return this.#disk;
  }

  get isUp(): boolean {
    return this.#callee !== undefined;
  }

  get epoch(): number | undefined {
    return this.#epoch;
  }

  /** In true time. */
  get nextWakeMs(): number {
    const wakeMs = (this.#callee?.nextWakeMs ?? Number.POSITIVE_INFINITY) - this.#aheadMs;
    return this.#sleptMs > 0 ? Math.max(wakeMs, this.#awakeAtMs + WAKING_MS) : wakeMs;
  }

  get nowMs(): number {
    return this.#parts.timeline.nowMs + this.#aheadMs;
  }

  get #aheadMs(): number {
    return this.#parts.isClockSteady ? this.#steadyMs : this.#clockMs;
  }

  start(): void {
    if (this.#callee) return;
    this.#steadyMs = this.#clockMs;
    const callee = this.#newCallee();
    this.#callee = callee;
    this.#alive(() => callee.recover(this.nowMs));
    if (this.#callee === undefined) return;
    this.#parts.onStart();
  }

  #newCallee(): Callee {
    const { send, fate, witness } = this.#parts;
    const life = this.#life;
    const callee: Callee = new Callee(
      this.#parts.journalFor(this.#disk),
      {
        send: (frame) => {
          send(frame);
          witness.deviceSaid(frame);
          if (frame.kind === FrameKind.OUTCOME) fate.pass('told');
        },
        dispatch: (call) => this.#dispatch(callee, call),
        abort: (callId) => this.#abort(callee, callId, life),
        seal: ({ callId }) => this.#seal(callee, callId),
      },
      { retentionMs: RETENTION_MS, maxEntries: MAX_ENTRIES },
    );
    return callee;
  }

  crash(fall: {
    readonly downMs: number;
    readonly isMachine: boolean;
    readonly kept: number;
  }): void {
    if (fall.isMachine) {
      this.#parts.witness.machineCrashes += 1;
      this.#disk.crashMachine(fall.kept);
    }
    this.#stop(fall.downMs);
  }

  /** Its disk loses what it had synced. */
  rollBack(downMs: number, lost: number): void {
    const { witness } = this.#parts;
    witness.machineCrashes += 1;
    witness.rollbacks += 1;
    this.#disk.rollBack(lost);
    this.#stop(downMs);
  }

  /** A clean end and a new start. */
  restart(downMs: number): void {
    this.#alive((callee) => callee.close());
    this.#stop(downMs);
  }

  wipe(downMs: number): void {
    this.#stop(downMs);
    this.#disk = this.#freshDisk();
  }

  fillDisk(forMs: number): void {
    const disk = this.#disk;
    disk.isFull = true;
    this.#parts.timeline.after(forMs, () => {
      disk.isFull = false;
    });
  }

  stepClock(byMs: number): void {
    this.#clockMs += byMs;
  }

  sleep(forMs: number): void {
    const { nowMs } = this.#parts.timeline;
    this.#sleptMs += Math.max(0, nowMs + forMs - Math.max(nowMs, this.#awakeAtMs));
    this.#awakeAtMs = Math.max(this.#awakeAtMs, nowMs + forMs);
  }

  attach(epoch: number): void {
    if (this.#epoch !== undefined && this.#parts.servesBothSockets) {
      this.#former = this.#callee;
      this.#callee = this.#newCallee();
    }
    this.#epoch = epoch;
    this.#alive((callee) => callee.attached(epoch));
  }

  detach(): void {
    this.#epoch = undefined;
    this.#alive((callee) => callee.detached());
  }

  hear(frame: Frame): void {
    const { timeline } = this.#parts;
    const asleepMs = this.#awakeAtMs - timeline.nowMs;
    const isOfFormer = frame.epoch < (this.#epoch ?? 0);
    const callee = isOfFormer ? (this.#former ?? this.#callee) : this.#callee;
    if (asleepMs > 0) timeline.after(asleepMs, () => this.hear(frame));
    else this.#alive((it) => it.frame(frame, this.nowMs), callee);
  }

  tick(): void {
    this.#alive((callee) => callee.tick(this.nowMs));
  }

  #stop(downMs: number): void {
    this.#life += 1;
    this.#callee = undefined;
    this.#former = undefined;
    this.#epoch = undefined;
    this.#parts.onStop();
    this.#parts.timeline.after(downMs, () => this.start());
  }

  #alive(part: (callee: Callee) => void, callee = this.#callee): void {
    if (callee)
      live(
        () => part(callee),
        (how) => this.crash(how),
      );
  }

  /** Later, and later still by any sleep, unless the bridge has come down since. */
  #after(callee: Callee, delayMs: number, part: () => void): void {
    const life = this.#life;
    const sleptMs = this.#sleptMs;
    this.#parts.timeline.after(delayMs, () => {
      if (life !== this.#life) return;
      if (this.#sleptMs > sleptMs) this.#after(callee, this.#sleptMs - sleptMs, part);
      else this.#alive(part, callee);
    });
  }

  #dispatch(callee: Callee, { callId }: CalleeCall): void {
    const plan = this.#plan(callId);
    const now = () => this.#parts.beginsAt(this.nowMs);
    const decide = () => {
      const error = new ZlError('policy.denied', 'no');
      if (plan.isDenied) callee.finished(callId, { status: 'denied', error });
      else if (callee.begin(callId, { durable: plan.hasEffects }, now) > 0) {
        this.#run(callee, callId, plan);
      }
    };
    if (plan.decideMs > 0) this.#after(callee, plan.decideMs, decide);
    else decide();
  }

  #run(callee: Callee, callId: string, { workMs }: CallPlan): void {
    const { witness, fate } = this.#parts;
    this.#begun.add(callId);
    const result = witness.executed(callId, this.#parts.timeline.nowMs);
    fate.pass('acted');
    this.#after(callee, workMs, () => callee.finished(callId, { status: 'done', result }));
  }

  #seal(callee: Callee, callId: string): void {
    const receipt = Buffer.from(this.#begun.has(callId) ? 'begun' : 'not begun');
    this.#after(callee, SEAL_MS, () =>
      callee.sealed(callId, { receipt, deviceUs: 1, serverUs: 1 }),
    );
  }

  #abort(callee: Callee, callId: string, life: number): void {
    if (life !== this.#life || this.#plan(callId).isStubborn) return;
    const error = new ZlError('call.cancelled', 'stopped');
    this.#after(callee, ABORT_MS, () => callee.finished(callId, { status: 'cancelled', error }));
  }

  #plan(callId: string): CallPlan {
    const plan = this.#parts.witness.calls.get(callId)?.plan;
    if (plan === undefined) throw new Error(`nobody planned call ${callId}`);
    return plan;
  }

  #freshDisk(): DiskJournal {
    this.#wipes += 1;
    const id = Buffer.alloc(16, this.#wipes);
    return new DiskJournal(id, (what) => this.#parts.fate.pass(what));
  }
}
