import { ZlError } from '@zerolatency/errors';
import { callKey, type Frame, FrameKind } from '@zerolatency/frame';
import { RefusedReason, ResumeSchema } from '@zerolatency/proto/call';
import { excessOf, obstacleTo, refusalOf } from './admission.ts';
import { type CallMessage, readCall } from './call-message.ts';
import type { CallProgress } from './call-request.ts';
import { CalleeEntry } from './callee-entry.ts';
import { notSeen, refused } from './callee-frames.ts';
import {
  type AbortReason,
  CALLEE_LIMITS,
  type CalleeCall,
  type CalleeLimits,
  type CalleeSink,
  type Finish,
  type Seal,
} from './callee-ports.ts';
import { CalleeVoice } from './callee-voice.ts';
import { EntryBook } from './entry-book.ts';
import type { Journal } from './journal.ts';
import { Notary } from './notary.ts';
import { readMessage, sameBytes } from './read-message.ts';

interface Standing {
  readonly callId: string;
  readonly known: CalleeEntry | undefined;
  /** Of the lease that the device is attached under. */
  readonly currentEpoch: number;
}

/**
 * The callee's end of every call to one device; the states of one call are
 * drawn in callee-entry.ts. A journal that throws is fatal: what could not be
 * persisted must not be told, so the process has to end and recover.
 */
export class Callee {
  readonly #journal: Journal;
  readonly #sink: CalleeSink;
  readonly #limits: CalleeLimits;
  readonly #book: EntryBook;
  readonly #voice: CalleeVoice;
  readonly #notary: Notary;
  #heldBytes = 0;

  constructor(journal: Journal, sink: CalleeSink, limits: Partial<CalleeLimits> = {}) {
    this.#journal = journal;
    this.#sink = sink;
    this.#limits = { ...CALLEE_LIMITS, ...limits };
    this.#book = new EntryBook(journal, this.#limits.retentionMs);
    this.#voice = new CalleeVoice((frame) => sink.send(frame));
    this.#notary = new Notary(journal);
  }

  /** Calls without a persisted outcome. */
  get running(): number {
    return this.#book.running;
  }

  get nextWakeMs(): number {
    return this.#book.nextWakeMs;
  }

  /** Once, before the first attached(). Rule 4: what was dispatched and has no outcome is unknown. */
  recover(nowMs: number): void {
    // All are read before any is written, because a journal may read as it is iterated.
    const entries = [...this.#journal.load()].map((row) => this.#notary.restore(row));
    for (const entry of entries) {
      this.#heldBytes += entry.outbox.bytes;
      this.#book.add(entry);
      if (!entry.isRunning) continue;
      const error = new ZlError('call.unknown_outcome', 'the bridge stopped while it ran');
      this.#end(entry, { status: 'unknown', error });
    }
    this.tick(nowMs);
  }

  attached(epoch: number): void {
    this.#voice.attach(epoch);
  }

  detached(): void {
    this.#voice.detach();
  }

  frame(frame: Frame, nowMs: number): void {
    const { epoch } = this.#voice;
    if (epoch === undefined) return;
    const callId = callKey(frame.callId);
    const entry = this.#book.get(callId);
    if (frame.kind === FrameKind.CALL) {
      this.#hearCall(frame, { callId, known: entry, currentEpoch: epoch }, nowMs);
    } else if (frame.epoch < epoch) {
      // A stalled owner of an older lease has no say.
    } else if (frame.kind === FrameKind.RESUME) {
      this.#hearResume(frame, callId, entry);
    } else if (entry) {
      // A caller cancels at its deadline too, and what is late has run out of time, by our clock as well.
      if (frame.kind === FrameKind.CANCEL) this.tick(nowMs);
      this.#hear(frame, entry);
    }
  }

  /** Just before the tool can act. False: it must not run, and nothing more is owed. */
  begin(callId: string, { durable }: { readonly durable: boolean }): boolean {
    const entry = this.#book.get(callId);
    return entry !== undefined && this.#notary.begin(entry, durable);
  }

  /** A part of the result, ahead of its end. */
  output(callId: string, bytes: Uint8Array): void {
    const entry = this.#book.get(callId);
    if (entry?.state.name !== 'dispatched') return;
    const excess = this.#keep(entry, entry.state.call, bytes);
    if (excess === undefined) this.#voice.pump(entry);
    else this.#abort(entry, 'too_large', excess);
  }

  /** Reports progress to a caller that wants it: best effort, never journalled. */
  progress(callId: string, report: CallProgress): void {
    const entry = this.#book.get(callId);
    if (entry?.state.name !== 'dispatched' || !entry.state.call.wantsProgress) return;
    this.#voice.progress(entry, report);
  }

  /** How the call ended. Without effect when the callee has stated an outcome before. */
  finished(callId: string, finish: Finish): void {
    const entry = this.#book.get(callId);
    if (entry === undefined || !('call' in entry.state)) return;
    const hasBegun = entry.state.name === 'dispatched';
    if (finish.status === (hasBegun ? 'denied' : 'done')) {
      throw new ZlError('internal', `a call cannot be ${finish.status}: begun is ${hasBegun}`);
    }
    const result = finish.status === 'done' ? finish.result : undefined;
    const excess = result && this.#keep(entry, entry.state.call, result);
    this.#end(entry, excess ? { status: 'failed', error: excess } : finish);
  }

  /** The receipt of an outcome that the sink was asked to seal. */
  sealed(callId: string, seal: Seal): void {
    const entry = this.#book.get(callId);
    if (entry === undefined || !this.#notary.seal(entry, seal)) return;
    this.#book.settled(entry);
    this.#voice.pump(entry);
  }

  tick(nowMs: number): void {
    for (const entry of this.#book.expired(nowMs)) {
      this.#abort(entry, 'deadline', new ZlError('tool.timeout', 'not finished by its deadline'));
    }
    for (const entry of this.#book.sweep(nowMs)) this.#heldBytes -= entry.outbox.free();
  }

  #hear({ kind, offset }: Frame, entry: CalleeEntry): void {
    switch (kind) {
      case FrameKind.CREDIT:
        entry.outbox.allow(offset);
        this.#voice.pump(entry);
        break;
      case FrameKind.CANCEL:
        this.#hearCancel(entry);
        break;
      case FrameKind.ACK:
        if (this.#notary.acknowledge(entry)) this.#heldBytes -= entry.outbox.free();
        break;
    }
  }

  #hearCall(frame: Frame, { callId, known, currentEpoch }: Standing, nowMs: number): void {
    // A copy: the frame's buffer is the socket's, and the call outlives it.
    const request = Uint8Array.from(frame.payload);
    const message = readCall(callId, request);
    const { epoch } = frame;
    const latestDeadlineMs = nowMs + this.#limits.maxAheadMs;
    const arrival = { epoch, currentEpoch, known, isFull: this.#isFull, latestDeadlineMs };
    const refusal = refusalOf(message, arrival, this.#journal);
    if (message === undefined || refusal !== undefined) {
      this.#refuse(callId, refusal ?? RefusedReason.MALFORMED);
    } else if (known) {
      this.#voice.answer(known, 0, message.credit);
    } else {
      this.#accept(message, { request, nowMs, currentEpoch });
    }
  }

  #accept(
    { call, credit }: CallMessage,
    from: { readonly request: Uint8Array; readonly nowMs: number; readonly currentEpoch: number },
  ): void {
    const entry = new CalleeEntry(call, { name: 'received', call, request: from.request });
    entry.epoch = from.currentEpoch;
    entry.outbox.allow(credit);
    const load = { nowMs: from.nowMs, running: this.running, heldBytes: this.#heldBytes };
    const error = obstacleTo(call, load, this.#limits);
    this.#book.add(entry);
    if (error) this.#end(entry, { status: 'failed', error });
    else this.#sink.dispatch(call);
  }

  #hearResume({ offset, payload }: Frame, callId: string, known: CalleeEntry | undefined): void {
    const message = readMessage(ResumeSchema, payload);
    if (message === undefined) return;
    if (known === undefined || !sameBytes(message.journalId, this.#journal.id)) {
      this.#voice.say(callId, notSeen(this.#journal.id));
    } else if (sameBytes(message.digest, known.digest)) {
      this.#voice.answer(known, offset, Number(message.credit));
    } else {
      this.#refuse(callId, RefusedReason.DIGEST_MISMATCH);
    }
  }

  #hearCancel(entry: CalleeEntry): void {
    if (!entry.isRunning) return;
    if (entry.state.name === 'received') {
      const error = new ZlError('call.cancelled', 'cancelled before it ran');
      this.#end(entry, { status: 'cancelled', error });
    }
    this.#sink.abort(entry.callId, 'cancelled');
  }

  get #isFull(): boolean {
    return this.#book.size >= this.#limits.maxEntries;
  }

  #refuse(callId: string, reason: RefusedReason): void {
    this.#voice.say(callId, refused(reason, this.#journal.id));
  }

  /** Adds to the result, or says why it may not grow. */
  #keep(entry: CalleeEntry, call: CalleeCall, bytes: Uint8Array): ZlError | undefined {
    const resultBytes = entry.outbox.bytes + bytes.length;
    const heldBytes = this.#heldBytes + bytes.length;
    const excess = excessOf(call, { resultBytes, heldBytes }, this.#limits);
    if (excess) return excess;
    entry.outbox.append(bytes);
    this.#heldBytes = heldBytes;
    return undefined;
  }

  #abort(entry: CalleeEntry, reason: AbortReason, error: ZlError): void {
    this.#end(entry, { status: 'failed', error });
    this.#sink.abort(entry.callId, reason);
  }

  #end(entry: CalleeEntry, finish: Finish): void {
    if (finish.status !== 'done') this.#heldBytes -= entry.outbox.free();
    const ended = this.#notary.end(entry, finish);
    if (ended !== undefined) this.#sink.seal(ended.call, ended.ending);
  }
}
