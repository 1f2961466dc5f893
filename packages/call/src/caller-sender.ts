import { create, toBinary } from '@bufbuild/protobuf';
import { callIdFromKey, FEATURES, type Frame, FrameKind, NO_PAYLOAD } from '@zerolatency/frame';
import { CallSchema, ResumeSchema } from '@zerolatency/proto/call';
import { type CallRequest, NO_BYTES } from './call.ts';
import type { CallIntent, Route } from './caller-ports.ts';
import { sameBytes } from './messages.ts';

type Content = Pick<Frame, 'kind'> & Partial<Pick<Frame, 'offset' | 'payload'>>;
type Subject = Pick<CallIntent, 'callId' | 'digest'>;

/**
 * Sends the frames of one call (rule 1). Tracks the current route and the call's
 * journal, and sends nothing without a route.
 */
export class CallerSender {
  readonly #callId: Uint8Array;
  readonly #digest: Uint8Array;
  readonly #send: (frame: Frame) => void;
  #journalId: Uint8Array = NO_BYTES;
  #route: Route | undefined;
  #epoch = 0;
  #sentEpoch = 0;
  /** The same in every CALL: a later one would pass the watermark that covers the first. */
  #journalDeadlineMs: number | undefined;

  constructor({ callId, digest }: Subject, send: (frame: Frame) => void) {
    this.#callId = callIdFromKey(callId);
    this.#digest = digest;
    this.#send = send;
  }

  get isUp(): boolean {
    return this.#route !== undefined;
  }

  /** The epoch of the newest route so far. Frames of older routes are ignored. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The epoch under which the call was sent last. */
  get sentEpoch(): number {
    return this.#sentEpoch;
  }

  /** Returns false for a known route and for one older than that. */
  take(route: Route): boolean {
    const isKnown = this.#route?.epoch === route.epoch && this.#route.device === route.device;
    if (isKnown || route.epoch < this.#epoch) return false;
    this.#route = route;
    this.#epoch = route.epoch;
    return true;
  }

  drop(): void {
    this.#route = undefined;
  }

  /** From now on the call is meant for that journal only. */
  bind(journalId: Uint8Array): void {
    this.#journalId = journalId;
  }

  isBoundTo(journalId: Uint8Array): boolean {
    return sameBytes(this.#journalId, journalId);
  }

  get isBound(): boolean {
    return this.#journalId !== NO_BYTES;
  }

  call(request: CallRequest, credit: number, nowMs: number): void {
    const { server, method, params, argumentSalt, bundleDigest, traceparent, principal } = request;
    const message = create(CallSchema, {
      digest: this.#digest,
      journalId: this.#journalId,
      deadlineUnixMs: BigInt(Math.floor(request.deadlineMs)),
      server,
      method,
      params,
      argumentSalt,
      credit: BigInt(credit),
      bundleDigest,
      principal: { ...principal, roles: [...principal.roles] },
      traceparent,
      maxBytes: BigInt(request.maxBytes),
      features: [...FEATURES],
      ...this.#timing(Math.floor(request.deadlineMs - nowMs)),
    });
    this.#sentEpoch = this.#route?.epoch ?? this.#sentEpoch;
    this.#write({ kind: FrameKind.CALL, payload: toBinary(CallSchema, message) });
  }

  /** Nothing for a journal whose clock was not known when the call was sent first. */
  #timing(timeLeftMs: number) {
    const sentJournalMs = Math.floor(this.#route?.journalNowMs?.() ?? 0);
    const leftMs = Math.max(0, timeLeftMs);
    this.#journalDeadlineMs ??= sentJournalMs === 0 ? 0 : sentJournalMs + leftMs;
    if (this.#journalDeadlineMs === 0) return {};
    return {
      timeLeftMs: BigInt(leftMs),
      sentJournalMs: BigInt(sentJournalMs),
      journalDeadlineMs: BigInt(this.#journalDeadlineMs),
    };
  }

  resume(offset: number, credit: number): void {
    const journalId = this.#journalId;
    const message = create(ResumeSchema, {
      digest: this.#digest,
      journalId,
      credit: BigInt(credit),
      features: [...FEATURES],
    });
    this.#write({ kind: FrameKind.RESUME, offset, payload: toBinary(ResumeSchema, message) });
  }

  credit(offset: number): void {
    this.#write({ kind: FrameKind.CREDIT, offset });
  }

  cancel(): void {
    this.#write({ kind: FrameKind.CANCEL });
  }

  ack(): void {
    this.#write({ kind: FrameKind.ACK });
  }

  #write({ kind, offset = 0, payload = NO_PAYLOAD }: Content): void {
    if (this.#route === undefined) return;
    const { device, epoch } = this.#route;
    this.#send({ kind, flags: 0, device, callId: this.#callId, offset, epoch, payload });
  }
}

interface SilenceLimits {
  readonly probeMs: number;
  readonly maxProbeMs: number;
}

/** When to ask a silent device again. The delay doubles, so that a slow tool is asked rarely. */
export class SilenceTimer {
  readonly #limits: SilenceLimits;
  #delayMs: number;
  #dueMs = Number.POSITIVE_INFINITY;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(limits: SilenceLimits) {
    this.#limits = limits;
    this.#delayMs = limits.probeMs;
  }

  get dueMs(): number {
    return this.#dueMs;
  }

  /** The device sent something, or the call was sent. */
  restart(nowMs: number): void {
    this.#delayMs = this.#limits.probeMs;
    this.#dueMs = nowMs + this.#delayMs;
  }

  /** The device was asked again. */
  asked(nowMs: number): void {
    this.#delayMs = Math.min(this.#delayMs * 2, this.#limits.maxProbeMs);
    this.#dueMs = nowMs + this.#delayMs;
  }

  stop(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  isDue(nowMs: number): boolean {
    // Setting the clock back must not prolong the wait.
    if (nowMs < this.#lastMs) this.#dueMs -= this.#lastMs - nowMs;
    this.#lastMs = nowMs;
    return nowMs >= this.#dueMs;
  }
}
