import { ZlError } from '@zerolatency/errors';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { RefusedReason } from '@zerolatency/proto/call';
import type { CallProgress } from './call.ts';
import type { CalleeCall, CalleeLimits, CalleeOutcome } from './callee-ports.ts';
import type { Journal } from './journal.ts';
import {
  type CalleeContent,
  type CallMessage,
  calleeFrame,
  progressContent,
  sameBytes,
} from './messages.ts';
import { ResultOutbox } from './result-stream.ts';

/**
 *   received --begin--> dispatched --finished--> sealing --sealed--> finished --ACK--> acknowledged
 *      |                                            ^
 *      +--- denied, cancelled, expired, no room ----+
 *
 * `received` is in memory only. Journalling and `dispatched` are one write: a
 * call that has not begun has not run, and after a restart "not seen" says so.
 * `sealing` waits for the receipt, and on a full disk for room: the outcome is fixed, and
 * neither persisted nor sent.
 */
export type EntryState =
  | { readonly name: 'received'; readonly call: CalleeCall; readonly request: Uint8Array }
  | { readonly name: 'dispatched'; readonly call: CalleeCall; readonly durable: boolean }
  | {
      readonly name: 'sealing';
      readonly stated: CalleeOutcome;
      readonly durable: boolean;
      readonly hasBegun: boolean;
    }
  | { readonly name: 'finished'; readonly outcome: Uint8Array; readonly resultBytes: number }
  | { readonly name: 'acknowledged'; readonly outcome: Uint8Array; readonly resultBytes: number };

/** What a callee knows about one call until it forgets the call. */
export class CalleeEntry {
  readonly callId: string;
  readonly digest: Uint8Array;
  /** The first deadline of the call, which the watermark covers once the entry is forgotten. */
  readonly deadlineMs: number;
  /** When the call's time is over by this run's clock. */
  readonly endsMs: number;
  readonly outbox = new ResultOutbox();
  state: EntryState;
  /** The epoch of the caller's last CALL or RESUME: output goes only to a route the caller used. */
  epoch = 0;
  /** As that CALL or RESUME said. */
  wantsProgress = false;
  /** The name of the host that made the call; empty where its relay names no hosts. */
  readonly host: string;
  /** The outcome was sent since the caller last asked. */
  isSent = false;
  /** What CalleeEntries has counted of heldBytes. */
  countedBytes = 0;

  constructor(
    key: Pick<CalleeCall, 'callId' | 'digest' | 'deadlineMs'> & {
      readonly endsMs: number;
      readonly host: string;
    },
    state: EntryState,
  ) {
    this.callId = key.callId;
    this.digest = key.digest;
    this.deadlineMs = key.deadlineMs;
    this.endsMs = key.endsMs;
    this.host = key.host;
    this.state = state;
  }

  /** Only the host that made a call may ask for it, stop it or free its result. */
  belongsTo(host: string): boolean {
    return this.host === '' || host === '' || this.host === host;
  }

  /** No outcome is fixed yet. */
  get isRunning(): boolean {
    return 'call' in this.state;
  }

  /** Its outcome is persisted. */
  get isSettled(): boolean {
    return 'outcome' in this.state;
  }

  /** An outcome holds a message and a receipt, and stays longer than its result. */
  get heldBytes(): number {
    const outcomeBytes = 'outcome' in this.state ? this.state.outcome.length : 0;
    return this.outbox.result.length + outcomeBytes;
  }
}

/** Each sweep costs an fsync, so entries are forgotten many at a time. */
const MIN_SWEEP_GAP_MS = 1_000;

/** The entries of a callee, and when to forget them (rule 5). */
export class CalleeEntries {
  readonly #journal: Journal;
  readonly #retentionMs: number;
  readonly #entries = new Map<string, CalleeEntry>();
  readonly #unsettled = new Set<CalleeEntry>();
  #heldBytes = 0;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(journal: Journal, retentionMs: number) {
    this.#journal = journal;
    this.#retentionMs = retentionMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Calls without a persisted outcome. */
  get running(): number {
    return this.#unsettled.size;
  }

  /** Results and outcomes in memory. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get(callId: string): CalleeEntry | undefined {
    return this.#entries.get(callId);
  }

  add(entry: CalleeEntry): void {
    this.#entries.set(entry.callId, entry);
    this.#unsettled.add(entry);
    this.changed(entry);
    this.#sweepAtMs = Math.min(this.#sweepAtMs, this.#forgetAtMs(entry));
  }

  /** As if the call had never arrived. */
  remove(entry: CalleeEntry): void {
    this.#entries.delete(entry.callId);
    this.#unsettled.delete(entry);
    this.#heldBytes -= entry.countedBytes;
  }

  /** The entry has another state or result. */
  changed(entry: CalleeEntry): void {
    const { heldBytes } = entry;
    this.#heldBytes += heldBytes - entry.countedBytes;
    entry.countedBytes = heldBytes;
    if (entry.isSettled) this.#unsettled.delete(entry);
  }

  /** Calls that still run after their deadline. */
  expired(nowMs: number): CalleeEntry[] {
    return [...this.#unsettled].filter((entry) => entry.isRunning && entry.endsMs <= nowMs);
  }

  get nextWakeMs(): number {
    let wakeMs = this.#sweepAtMs;
    for (const { isRunning, endsMs } of this.#unsettled) {
      if (isRunning) wakeMs = Math.min(wakeMs, endsMs);
    }
    return wakeMs;
  }

  /** Forgets entries long past their deadline. */
  sweep(nowMs: number): void {
    if (nowMs < this.#sweepAtMs) return;
    this.#sweepAtMs = nowMs + MIN_SWEEP_GAP_MS;
    const past = [...this.#entries.values()].filter(
      (entry) => entry.isSettled && this.#forgetAtMs(entry) <= nowMs,
    );
    if (past.length > 0) this.#forget(past);
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries.values()) {
      earliestMs = Math.min(earliestMs, this.#forgetAtMs(entry));
    }
    this.#sweepAtMs = Math.max(earliestMs, nowMs + MIN_SWEEP_GAP_MS);
  }

  /** After both deadlines, so the watermark stays behind the clock by which new deadlines are stated. */
  #forgetAtMs({ deadlineMs, endsMs }: CalleeEntry): number {
    return Math.max(deadlineMs, endsMs) + this.#retentionMs;
  }

  /** The watermark is the latest forgotten deadline: anything higher would refuse too much. */
  #forget(past: CalleeEntry[]): void {
    let watermarkMs = 0;
    for (const { deadlineMs } of past) watermarkMs = Math.max(watermarkMs, deadlineMs);
    this.#journal.forget(watermarkMs);
    for (const entry of past) this.remove(entry);
  }
}

interface Arrival {
  /** The epoch of the frame. */
  readonly epoch: number;
  /** The epoch of the lease. */
  readonly currentEpoch: number;
  readonly known: CalleeEntry | undefined;
  /** No entry can be added. */
  readonly isFull: boolean;
  readonly latestDeadlineMs: number;
}

/** Rule 2: why a call is refused and leaves no entry; undefined when it is not. */
export function refusalOf(
  message: CallMessage | undefined,
  { epoch, currentEpoch, known, isFull, latestDeadlineMs }: Arrival,
  journal: Journal,
): RefusedReason | undefined {
  if (message === undefined) return RefusedReason.MALFORMED;
  const { call, journalId, firstDeadlineMs } = message;
  if (!sameBytes(journalId, journal.id)) return RefusedReason.OTHER_JOURNAL;
  if (epoch < currentEpoch) return RefusedReason.OLD_EPOCH;
  if (firstDeadlineMs <= journal.watermarkMs) return RefusedReason.PAST_WATERMARK;
  if (known === undefined) {
    if (Math.max(call.deadlineMs, firstDeadlineMs) > latestDeadlineMs)
      return RefusedReason.DEADLINE_TOO_FAR;
    return isFull ? RefusedReason.BUSY : undefined;
  }
  return sameBytes(known.digest, call.digest) ? undefined : RefusedReason.DIGEST_MISMATCH;
}

interface Load {
  readonly nowMs: number;
  readonly running: number;
}

/** Why a new call fails at once. Unlike a refusal, this is an outcome and is remembered. */
export function obstacleTo(
  call: CalleeCall,
  load: Load,
  limits: CalleeLimits,
): ZlError | undefined {
  const lateMs = load.nowMs - call.deadlineMs;
  if (lateMs >= 0) {
    const message = `arrived ${lateMs} ms after its deadline, by the device's clock; it did not run`;
    return new ZlError('tool.timeout', message);
  }
  const { maxRunning } = limits;
  if (load.running < maxRunning) return undefined;
  return new ZlError('limit.exceeded', `the device already runs ${maxRunning} calls`);
}

/** Why a result cannot be kept; undefined when it can. */
export function excessOf(
  call: CalleeCall,
  sizes: { readonly resultBytes: number; readonly heldBytes: number },
  limits: CalleeLimits,
): ZlError | undefined {
  const maxBytes = Math.min(call.maxBytes || limits.maxResultBytes, limits.maxResultBytes);
  if (sizes.resultBytes > maxBytes) {
    return new ZlError(
      'tool.result_too_large',
      `the result exceeds the limit of ${maxBytes} bytes`,
    );
  }
  if (sizes.heldBytes <= limits.maxHeldBytes) return undefined;
  const message = `the device already keeps ${limits.maxHeldBytes} bytes of results`;
  return new ZlError('limit.exceeded', message);
}

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
