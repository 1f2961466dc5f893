import { decodeFrame, encodeFrame, type Frame } from '@zerolatency/frame';
import type { Schedule, Step } from './schedule.ts';
import type { Timeline } from './timeline.ts';

const LATENCY_MS = 5;

type FrameFault = Extract<Step, { frame: number }>;

/** Carries frames, as bytes, and loses, repeats and delays those that the schedule names. */
export class Network {
  readonly #timeline: Timeline;
  readonly #faults: readonly FrameFault[];
  #frames = 0;
  /** Counts the times at which everything on its way was lost. */
  #drops = 0;
  /** When the latest fault did its work. */
  lastFaultMs = 0;

  constructor(timeline: Timeline, schedule: Schedule) {
    this.#timeline = timeline;
    this.#faults = schedule.filter((step): step is FrameFault => 'frame' in step);
  }

  dropAll(): void {
    this.#drops += 1;
  }

  carry(frame: Frame, deliver: (frame: Frame) => void): void {
    const number = this.#frames;
    this.#frames += 1;
    const bytes = encodeFrame(frame);
    const drops = this.#drops;
    const arrive = (afterMs: number) =>
      this.#timeline.after(afterMs, () => {
        const { frame: arrived } = decodeFrame(bytes);
        if (arrived && drops === this.#drops) deliver(arrived);
      });
    let delayMs = LATENCY_MS;
    let isLost = false;
    for (const fault of this.#faults) {
      if (fault.frame !== number) continue;
      this.lastFaultMs = this.#timeline.nowMs;
      if (fault.do === 'lose') isLost = true;
      else if (fault.do === 'delay') delayMs += fault.byMs;
      else arrive(LATENCY_MS + fault.afterMs);
    }
    if (!isLost) arrive(delayMs);
  }
}
