import type { Frame } from '@zerolatency/frame';
import { RefusedReason } from '@zerolatency/proto/call';
import { CallerLine } from './caller-line.ts';
import {
  CALLER_LIMITS,
  type CallerLimits,
  type CallerRequest,
  type CallerSink,
  type CallIntent,
  type Route,
} from './caller-ports.ts';
import { type CallerState, type CallerStateName, isSettled, transition } from './caller-state.ts';
import { readDeviceWord, refusalText } from './device-word.ts';
import { type CallOutcome, statedHere } from './outcome.ts';
import { requestDigest } from './request-digest.ts';
import { ResultInbox } from './result-inbox.ts';
import { SilenceTimer } from './silence-timer.ts';

/**
 * The caller's end of one call; its states are drawn in caller-state.ts.
 *
 * Only a call that was never sent may be meant for another journal, and only
 * such a call ends as cancelled or failed by the caller's own word. Whatever
 * is not known by settleByMs is unknown.
 */
export class Caller {
  readonly callId: string;
  readonly #intent: Omit<CallIntent, 'journalId'>;
  /** Undefined after recover(): there is nothing to send again. */
  readonly #request: CallerRequest | undefined;
  readonly #sink: CallerSink;
  readonly #cancelGraceMs: number;
  readonly #line: CallerLine;
  readonly #inbox: ResultInbox;
  readonly #silence: SilenceTimer;
  #state: CallerState = { name: 'validated' };
  #settleByMs: number;
  #isStopping = false;
  /** The device said done, and bytes of the result are still missing. */
  #stated: CallOutcome | undefined;

  constructor(
    subject: CallerRequest | CallIntent,
    sink: CallerSink,
    limits: Partial<CallerLimits> = {},
  ) {
    const { windowBytes, cancelGraceMs, ...silence } = { ...CALLER_LIMITS, ...limits };
    const { callId, deadlineMs, settleByMs } = subject;
    const isRequest = 'server' in subject;
    const digest = isRequest ? requestDigest(subject) : subject.digest;
    this.#intent = { callId, digest, deadlineMs, settleByMs };
    this.#request = isRequest ? subject : undefined;
    this.#sink = sink;
    this.#cancelGraceMs = cancelGraceMs;
    this.#line = new CallerLine(this.#intent, (frame) => sink.send(frame));
    this.#inbox = new ResultInbox({ windowBytes, maxBytes: this.#request?.maxBytes ?? 0 });
    this.#silence = new SilenceTimer(silence);
    this.#settleByMs = settleByMs;
    this.callId = callId;
    if (isRequest) return;
    this.#line.bind(subject.journalId);
    this.#state = { name: 'resuming' };
  }

  /** For what an earlier run of this host may have sent (rule 8): asks for the outcome alone. */
  static recover(intent: CallIntent, sink: CallerSink, limits?: Partial<CallerLimits>): Caller {
    return new Caller(intent, sink, limits);
  }

  get state(): { readonly name: CallerStateName } {
    return this.#state;
  }

  /** What must be in the ledger before the first route is given. */
  intent(journalId: Uint8Array): CallIntent {
    return { ...this.#intent, journalId };
  }

  get nextWakeMs(): number {
    if (isSettled(this.#state)) return Number.POSITIVE_INFINITY;
    const stopMs = this.#isStopping ? this.#settleByMs : this.#intent.deadlineMs;
    return Math.min(stopMs, this.#settleByMs, this.#silence.dueMs);
  }

  /** A route that is older than one given before is ignored. */
  routeUp(route: Route, nowMs: number): void {
    this.tick(nowMs);
    if (!this.#line.take(route) || isSettled(this.#state)) return;
    if (this.#state.name === 'validated') {
      this.#line.bind(route.journalId);
      this.#call(nowMs);
    } else if (this.#line.isBoundTo(route.journalId)) {
      this.#resume(nowMs);
    } else {
      this.#settleUnknown('the device has another journal now');
    }
  }

  routeLost(nowMs: number): void {
    this.#line.drop();
    this.#silence.stop();
    const { name } = this.#state;
    if (name === 'sent' || name === 'running') this.#become({ name: 'resuming' });
    this.tick(nowMs);
  }

  frame(frame: Frame, nowMs: number): void {
    if (isSettled(this.#state) || frame.epoch < this.#line.epoch) return;
    const word = readDeviceWord(frame);
    if (word.says === 'data') this.#hearData(word.offset, word.bytes, nowMs);
    else if (word.says === 'outcome') this.#hearOutcome(word.outcome, nowMs);
    else if (word.says === 'not seen') this.#hearNotSeen(word.journalId, nowMs);
    else if (word.says === 'progress') this.#sink.progress?.(word.report);
    else if (word.says === 'refused') this.#hearRefused(word.reason, frame.epoch, nowMs);
  }

  /** The reader of data() is done with that many bytes: the device may send as many more. */
  consumed(bytes: number): void {
    const isNews = this.#inbox.consume(bytes);
    if (isNews && !isSettled(this.#state)) this.#line.credit(this.#inbox.granted);
  }

  cancel(nowMs: number): void {
    if (isSettled(this.#state)) return;
    if (this.#state.name === 'validated') {
      this.#settle(statedHere('cancelled', 'call.cancelled', 'cancelled before it was sent'));
      return;
    }
    this.#settleByMs = Math.min(this.#settleByMs, nowMs + this.#cancelGraceMs);
    this.#stop();
  }

  tick(nowMs: number): void {
    if (isSettled(this.#state)) return;
    const { deadlineMs } = this.#intent;
    if (this.#state.name === 'validated') {
      if (nowMs < Math.min(deadlineMs, this.#settleByMs)) return;
      this.#settle(statedHere('failed', 'device.offline', 'no route to the device in time'));
    } else if (nowMs >= this.#settleByMs) {
      this.#settleUnknown('the device said nothing in time');
    } else {
      if (nowMs >= deadlineMs) this.#stop();
      if (this.#silence.isDue(nowMs)) this.#resume(nowMs);
    }
  }

  /** The outcome is safe in the ledger: the device may free the result. */
  acknowledge(): void {
    if (isSettled(this.#state) && this.#line.isBound) this.#line.ack();
  }

  #call(nowMs: number): void {
    if (this.#request === undefined) return;
    this.#become({ name: 'sent' });
    this.#silence.restart(nowMs);
    this.#line.call(this.#request, this.#inbox.granted);
  }

  #resume(nowMs: number): void {
    if (!this.#line.isUp) return;
    this.#become({ name: 'resuming' });
    this.#silence.asked(nowMs);
    this.#line.resume(this.#inbox.received, this.#inbox.granted);
    // An earlier CANCEL may have been lost with whatever made us ask.
    if (this.#isStopping) this.#line.cancel();
  }

  #stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#line.cancel();
  }

  #hearData(offset: number, bytes: Uint8Array, nowMs: number): void {
    if (offset > this.#inbox.received) {
      // Something before it was lost. One request is enough for all that follows it.
      if (this.#state.name !== 'resuming') this.#resume(nowMs);
      return;
    }
    this.#heard(nowMs);
    const fresh = this.#inbox.accept(offset, bytes);
    if (fresh) this.#sink.data(fresh);
    this.#settleIfWhole();
  }

  #hearOutcome(outcome: CallOutcome, nowMs: number): void {
    if (outcome.status !== 'done' || this.#request === undefined) {
      this.#settle(outcome);
      return;
    }
    this.#heard(nowMs);
    this.#stated = outcome;
    this.#settleIfWhole();
  }

  #hearNotSeen(journalId: Uint8Array, nowMs: number): void {
    if (!this.#line.isUp) return;
    if (!this.#line.isBoundTo(journalId)) {
      this.#settleUnknown('the device has another journal now');
    } else if (this.#state.name !== 'resuming' || this.#stated) {
      // A late answer: the device has spoken of the call since.
    } else if (this.#isStopping || this.#request === undefined) {
      // No promise that it never runs: what was sent may still be on its way to the device.
      this.#settleUnknown('the device did not know the call when it was asked');
    } else {
      this.#call(nowMs);
    }
  }

  #hearRefused(reason: RefusedReason, epoch: number, nowMs: number): void {
    if (reason === RefusedReason.OLD_EPOCH) {
      // Of a frame on an earlier route, unless the device has gone ahead of ours.
      if (epoch > this.#line.epoch) this.routeLost(nowMs);
    } else if (reason === RefusedReason.BUSY) {
      if (!this.#line.isUp) return;
      this.#become({ name: 'resuming' });
      this.#silence.asked(nowMs);
    } else {
      // Nobody signs a refusal: whoever carries frames could tell one of a call that ran.
      this.#settleUnknown(refusalText(reason));
    }
  }

  #heard(nowMs: number): void {
    if (!this.#line.isUp) return;
    this.#become({ name: 'running' });
    this.#silence.restart(nowMs);
  }

  #settleIfWhole(): void {
    // A sink that answers at once may have settled the call in the midst of a chunk.
    if (this.#stated === undefined || isSettled(this.#state)) return;
    const outcome = this.#inbox.judge(this.#stated);
    if (outcome) this.#settle(outcome);
  }

  #settleUnknown(reason: string): void {
    const message = this.#stated ? 'it ran, and its result did not arrive whole' : reason;
    this.#settle(statedHere('unknown', 'call.unknown_outcome', message));
  }

  #settle(outcome: CallOutcome): void {
    this.#become({ name: outcome.status, outcome });
    this.#sink.settled(outcome);
  }

  #become(next: CallerState): void {
    this.#state = transition(this.#state, next);
  }
}
