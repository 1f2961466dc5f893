import { ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import { RefusedReason } from '@zerolatency/proto/call';
import type { Outcome } from '@zerolatency/receipts';
import { type CallerOutcome, statedHere } from './call.ts';
import {
  CALLER_LIMITS,
  type CallerLimits,
  type CallerRequest,
  type CallerSink,
  type CallIntent,
  type Route,
} from './caller-ports.ts';
import { CallerSender, SilenceTimer } from './caller-sender.ts';
import { type DeviceMessage, readDeviceMessage, refusalText, requestDigest } from './messages.ts';
import { ResultInbox } from './result-stream.ts';

type OpenName = 'validated' | 'sent' | 'running' | 'resuming';

export type CallerStateName = OpenName | Outcome;

type NotSeen = Extract<DeviceMessage, { type: 'not seen' }>;

export type CallerState =
  | { readonly name: OpenName }
  | { readonly name: Outcome; readonly outcome: CallerOutcome };

const ENDS = ['done', 'failed', 'denied', 'cancelled', 'unknown'] as const;

/**
 *   validated --route--> sent --heard--> running <--heard / silence, cut--> resuming
 *       |                 ^                 |                                  |
 *       |                 +---- not seen by the same journal: call again ------+
 *       v                                   v                                  v
 *   failed, cancelled             done | failed | denied | cancelled | unknown
 *
 * A call that an earlier run of the host may have sent starts in resuming.
 */
const NEXT: Record<OpenName, readonly CallerStateName[]> = {
  validated: ['sent', 'failed', 'cancelled'],
  sent: ['sent', 'running', 'resuming', ...ENDS],
  running: ['sent', 'running', 'resuming', ...ENDS],
  resuming: ['sent', 'running', 'resuming', ...ENDS],
};

/**
 * Returns the next state; throws when the call cannot go there.
 * @internal
 */
export function transition(now: CallerState, next: CallerState): CallerState {
  if (isSettled(now) || !NEXT[now.name].includes(next.name)) {
    throw new ZlError('internal', `a call cannot go from ${now.name} to ${next.name}`);
  }
  return next;
}

function isSettled(state: CallerState): state is Extract<CallerState, { outcome: CallerOutcome }> {
  return 'outcome' in state;
}

/**
 * The caller's end of one call; its states are drawn above.
 *
 * Only a call that was never sent may be meant for another journal, and the
 * caller itself ends only such a call as cancelled or failed. A call whose
 * outcome is not known by settleByMs is unknown.
 */
export class Caller {
  readonly callId: string;
  readonly #intent: Omit<CallIntent, 'journalId'>;
  /** Undefined after recover(): nothing can be sent again. */
  readonly #request: CallerRequest | undefined;
  readonly #sink: CallerSink;
  readonly #cancelGraceMs: number;
  readonly #sender: CallerSender;
  readonly #inbox: ResultInbox;
  readonly #silence: SilenceTimer;
  #state: CallerState = { name: 'validated' };
  #settleByMs: number;
  #isStopping = false;
  /** The offset that was asked for again when a later one arrived. */
  #missing: number | undefined;
  /** The device reported done, and bytes of the result are still missing. */
  #stated: CallerOutcome | undefined;

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
    this.#sender = new CallerSender(this.#intent, (frame) => sink.send(frame));
    this.#inbox = new ResultInbox({ windowBytes, maxBytes: this.#request?.maxBytes ?? 0 });
    this.#silence = new SilenceTimer(silence);
    this.#settleByMs = settleByMs;
    this.callId = callId;
    if (isRequest) return;
    this.#sender.bind(subject.journalId);
    this.#state = { name: 'resuming' };
  }

  /** For a call that an earlier run of this host may have sent (rule 8): asks only for its outcome. */
  static recover(intent: CallIntent, sink: CallerSink, limits?: Partial<CallerLimits>): Caller {
    return new Caller(intent, sink, limits);
  }

  get state(): { readonly name: CallerStateName } {
    return this.#state;
  }

  /** Must be in the ledger before the first routeUp(). */
  intent(journalId: Uint8Array): CallIntent {
    return { ...this.#intent, journalId };
  }

  get nextWakeMs(): number {
    if (isSettled(this.#state)) return Number.POSITIVE_INFINITY;
    const stopMs = this.#isStopping ? this.#settleByMs : this.#intent.deadlineMs;
    return Math.min(stopMs, this.#settleByMs, this.#silence.dueMs);
  }

  /** Ignores a route older than an earlier one. */
  routeUp(route: Route, nowMs: number): void {
    this.tick(nowMs);
    if (!this.#sender.take(route) || isSettled(this.#state)) return;
    if (this.#state.name === 'validated') {
      this.#sender.bind(route.journalId);
      this.#call(nowMs);
    } else if (this.#sender.isBoundTo(route.journalId)) {
      this.#resume(nowMs);
    } else {
      this.#settleUnknown('the device has a new journal');
    }
  }

  routeLost(nowMs: number): void {
    this.#sender.drop();
    this.#silence.stop();
    const { name } = this.#state;
    if (name === 'sent' || name === 'running') this.#become({ name: 'resuming' });
    this.tick(nowMs);
  }

  frame(frame: Frame, nowMs: number): void {
    if (isSettled(this.#state) || frame.epoch < this.#sender.epoch) return;
    const message = readDeviceMessage(frame);
    if (message.type === 'data') this.#onData(message.offset, message.bytes, nowMs);
    else if (message.type === 'outcome') this.#onOutcome(message.outcome, nowMs);
    else if (message.type === 'not seen') this.#onNotSeen(message, nowMs);
    else if (message.type === 'progress') this.#sink.progress?.(message.report);
    else if (message.type === 'refused') this.#onRefused(message.reason, frame.epoch, nowMs);
  }

  /** The reader of data() has consumed that many bytes, so the device may send as many more. */
  consumed(bytes: number): void {
    const isNews = this.#inbox.consume(bytes);
    if (isNews && !isSettled(this.#state)) this.#sender.credit(this.#inbox.granted);
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
      this.#settleUnknown('the device did not answer in time');
    } else {
      if (nowMs >= deadlineMs) this.#stop();
      if (this.#silence.isDue(nowMs)) this.#resume(nowMs);
    }
  }

  /** The outcome is in the ledger, so the device may free the result. */
  acknowledge(): void {
    if (isSettled(this.#state) && this.#sender.isBound) this.#sender.ack();
  }

  #call(nowMs: number): void {
    if (this.#request === undefined) return;
    this.#become({ name: 'sent' });
    this.#silence.restart(nowMs);
    this.#sender.call(this.#request, this.#inbox.granted, nowMs);
  }

  #resume(nowMs: number): void {
    if (!this.#sender.isUp) return;
    this.#become({ name: 'resuming' });
    this.#silence.asked(nowMs);
    this.#sender.resume(this.#inbox.received, this.#inbox.granted);
    // The same loss may have taken an earlier CANCEL.
    if (this.#isStopping) this.#sender.cancel();
  }

  #stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#sender.cancel();
  }

  #onData(offset: number, bytes: Uint8Array, nowMs: number): void {
    const { received, granted } = this.#inbox;
    // Sent to an earlier run of this host, or by a device that keeps no rules.
    if (offset + bytes.length > granted) return;
    if (offset > received) {
      // An earlier frame was lost. One request makes up for all that follow; the timer sends the next.
      if (this.#state.name === 'resuming' || this.#missing === received) return;
      this.#missing = received;
      this.#resume(nowMs);
      return;
    }
    this.#heard(nowMs);
    const fresh = this.#inbox.accept(offset, bytes);
    if (fresh) this.#sink.data(fresh);
    this.#settleIfWhole();
  }

  #onOutcome(outcome: CallerOutcome, nowMs: number): void {
    if (outcome.status !== 'done' || this.#request === undefined) {
      this.#settle(outcome);
      return;
    }
    this.#heard(nowMs);
    this.#stated = outcome;
    this.#settleIfWhole();
  }

  #onNotSeen({ journalId, epochs }: NotSeen, nowMs: number): void {
    if (!this.#sender.isUp) return;
    const isProof = epochs.length === 0 || epochs.includes(this.#sender.sentEpoch);
    if (!this.#sender.isBoundTo(journalId)) {
      this.#settleUnknown('the device has a new journal');
    } else if (this.#state.name !== 'resuming' || this.#stated) {
      // A late answer: the device has reported on the call since.
    } else if (this.#isStopping || this.#request === undefined) {
      // The call may still run: a frame may be on its way to the device.
      this.#settleUnknown('the device did not know the call when asked');
    } else if (!isProof && this.#request.hasEffects !== false) {
      this.#settleUnknown('the device restarted, and its journal may have lost the call');
    } else {
      this.#call(nowMs);
    }
  }

  #onRefused(reason: RefusedReason, epoch: number, nowMs: number): void {
    if (reason === RefusedReason.OLD_EPOCH) {
      // It answers a frame of an earlier route, unless the device has a newer lease.
      if (epoch > this.#sender.epoch) this.routeLost(nowMs);
    } else if (reason === RefusedReason.BUSY) {
      if (!this.#sender.isUp) return;
      this.#become({ name: 'resuming' });
      this.#silence.asked(nowMs);
    } else {
      // A refusal is not signed, so a relay could forge one for a call that ran.
      this.#settleUnknown(refusalText(reason));
    }
  }

  #heard(nowMs: number): void {
    if (!this.#sender.isUp) return;
    this.#become({ name: 'running' });
    this.#silence.restart(nowMs);
  }

  #settleIfWhole(): void {
    // A sink that reacts at once may have settled the call during a chunk.
    if (this.#stated === undefined || isSettled(this.#state)) return;
    const outcome = this.#inbox.judge(this.#stated);
    if (outcome) this.#settle(outcome);
  }

  #settleUnknown(reason: string): void {
    const message = this.#stated ? 'it ran, but its result did not arrive completely' : reason;
    this.#settle(statedHere('unknown', 'call.unknown_outcome', message));
  }

  #settle(outcome: CallerOutcome): void {
    this.#become({ name: outcome.status, outcome });
    this.#sink.settled(outcome);
  }

  #become(next: CallerState): void {
    this.#state = transition(this.#state, next);
  }
}
