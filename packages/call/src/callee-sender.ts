import { type Frame, FrameKind } from '@zerolatency/frame';
import type { CallProgress } from './call.ts';
import type { CalleeEntry } from './callee-entries.ts';
import { type CalleeContent, calleeFrame, progressContent } from './messages.ts';

/** Sends the callee's frames, and only to callers that asked under the current epoch. */
export class CalleeSender {
  readonly #send: (frame: Frame) => void;
  #epoch: number | undefined;

  constructor(send: (frame: Frame) => void) {
    this.#send = send;
  }

  /** The epoch of the lease; undefined while the device is not attached. */
  get epoch(): number | undefined {
    return this.#epoch;
  }

  attach(epoch: number): void {
    this.#epoch = epoch;
  }

  detach(): void {
    this.#epoch = undefined;
  }

  write(callId: string, content: CalleeContent): void {
    if (this.#epoch !== undefined) this.#send(calleeFrame(callId, this.#epoch, content));
  }

  /** Sends everything new that credit allows. Returns false when there was nothing. */
  pump(entry: CalleeEntry): boolean {
    if (this.#epoch === undefined || entry.epoch !== this.#epoch) return false;
    let sent = false;
    for (let chunk = entry.outbox.next(); chunk; chunk = entry.outbox.next()) {
      sent = true;
      const { start, bytes } = chunk;
      this.write(entry.callId, { kind: FrameKind.DATA, offset: start, payload: bytes });
    }
    const { state } = entry;
    if (entry.isSent || !('outcome' in state)) return sent;
    entry.isSent = true;
    const { outcome, resultBytes } = state;
    this.write(entry.callId, { kind: FrameKind.OUTCOME, offset: resultBytes, payload: outcome });
    return true;
  }

  progress(entry: CalleeEntry, report: CallProgress): void {
    if (entry.epoch === this.#epoch) this.write(entry.callId, progressContent(report));
  }

  /** Answers a caller that asks from `offset` on, with an empty DATA when there is nothing new. */
  answer(entry: CalleeEntry, offset: number): void {
    if (this.#epoch === undefined) return;
    entry.epoch = this.#epoch;
    entry.isSent = false;
    entry.outbox.rewind(offset);
    if (this.pump(entry)) return;
    this.write(entry.callId, { kind: FrameKind.DATA, offset: entry.outbox.sent });
  }
}
