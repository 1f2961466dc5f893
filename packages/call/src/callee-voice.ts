import { type Frame, FrameKind } from '@zerolatency/frame';
import type { CallProgress } from './call-request.ts';
import type { CalleeEntry } from './callee-entry.ts';
import { type CalleeContent, calleeFrame, progressContent } from './callee-frames.ts';

/** What the callee says, and to whom: to the caller that asked under the epoch of now, or to nobody. */
export class CalleeVoice {
  readonly #send: (frame: Frame) => void;
  #epoch: number | undefined;

  constructor(send: (frame: Frame) => void) {
    this.#send = send;
  }

  /** Of the lease under which the device is attached; undefined while it is not. */
  get epoch(): number | undefined {
    return this.#epoch;
  }

  attach(epoch: number): void {
    this.#epoch = epoch;
  }

  detach(): void {
    this.#epoch = undefined;
  }

  say(callId: string, content: CalleeContent): void {
    if (this.#epoch !== undefined) this.#send(calleeFrame(callId, this.#epoch, content));
  }

  /** Says everything of the call that is new and that credit allows; false when that was nothing. */
  pump(entry: CalleeEntry): boolean {
    if (this.#epoch === undefined || entry.epoch !== this.#epoch) return false;
    let said = false;
    for (let chunk = entry.outbox.next(); chunk; chunk = entry.outbox.next()) {
      said = true;
      const { start, bytes } = chunk;
      this.say(entry.callId, { kind: FrameKind.DATA, offset: start, payload: bytes });
    }
    const { state } = entry;
    if (entry.isTold || !('outcome' in state)) return said;
    entry.isTold = true;
    const { outcome, resultBytes } = state;
    this.say(entry.callId, { kind: FrameKind.OUTCOME, offset: resultBytes, payload: outcome });
    return true;
  }

  progress(entry: CalleeEntry, report: CallProgress): void {
    if (entry.epoch === this.#epoch) this.say(entry.callId, progressContent(report));
  }

  /** Answers a caller that asks from `offset` on; with an empty DATA when there is no news but life. */
  answer(entry: CalleeEntry, offset: number, credit: number): void {
    if (this.#epoch === undefined) return;
    entry.epoch = this.#epoch;
    entry.isTold = false;
    entry.outbox.rewind(offset);
    entry.outbox.allow(credit);
    if (this.pump(entry)) return;
    this.say(entry.callId, { kind: FrameKind.DATA, offset: entry.outbox.sent });
  }
}
