import { ZlError } from '@zerolatency/errors';
import { callKey, type Frame, FrameKind, PROGRESS_FEATURE, readMessage } from '@zerolatency/frame';
import { RefusedReason, ResumeSchema } from '@zerolatency/proto/call';
import type { CallProgress } from './call.ts';
import {
  CalleeEntries,
  CalleeEntry,
  CalleeSender,
  excessOf,
  obstacleTo,
  refusalOf,
} from './callee-entries.ts';
import {
  CALLEE_LIMITS,
  type CalleeCall,
  type CalleeLimits,
  type CalleeSink,
  type Finish,
  type Seal,
} from './callee-ports.ts';
import type { Journal } from './journal.ts';
import { JournalWriter } from './journal-writer.ts';
import { type CallMessage, notSeen, readCall, refused, sameBytes } from './messages.ts';

/** How often a write is tried again for which the journal had no room. */
const RETRY_WRITE_MS = 1_000;
/** More leases than a device gets within the life of a call. */
const MAX_COMPLETE_EPOCHS = 64;

interface Standing {
  readonly callId: string;
  readonly known: CalleeEntry | undefined;
  /** The epoch of the lease. */
  readonly currentEpoch: number;
  readonly host: string;
}

/**
 * The callee's end of every call to one device; the states of one call are
 * drawn in callee-entries.ts. A journal that throws is fatal: what was not
 * persisted must not be reported, so the process has to end and recover.
 */
export class Callee {
  readonly #journal: Journal;
  readonly #sink: CalleeSink;
  readonly #limits: CalleeLimits;
  readonly #entries: CalleeEntries;
  readonly #sender: CalleeSender;
  readonly #writer: JournalWriter;
  /** Under which no call is lost: a running callee remembers what its disk may lose. */
  #completeEpochs: readonly number[];
  #isDraining = false;
  /** Outcomes of calls that ran, for which the journal had no room. */
  readonly #unwritten = new Map<CalleeEntry, Seal>();
  #retryAtMs = 0;
  /** What the journal's clock adds to the one that the inputs are given by. */
  #leadMs = 0;

  constructor(journal: Journal, sink: CalleeSink, limits: Partial<CalleeLimits> = {}) {
    this.#journal = journal;
    this.#sink = sink;
    this.#limits = { ...CALLEE_LIMITS, ...limits };
    this.#entries = new CalleeEntries(journal, this.#limits.retentionMs);
    this.#sender = new CalleeSender((frame) => sink.send(frame));
    this.#writer = new JournalWriter(journal);
    this.#completeEpochs = journal.completeEpochs;
  }

  /** Calls without a persisted outcome. */
  get running(): number {
    return this.#entries.running;
  }

  get nextWakeMs(): number {
    const { nextWakeMs } = this.#entries;
    const wakeMs = this.#unwritten.size === 0 ? nextWakeMs : Math.min(nextWakeMs, this.#retryAtMs);
    return wakeMs - this.#leadMs;
  }

  /** Once, before the first attached(). Rule 4: a dispatched call without an outcome is unknown. */
  recover(nowMs: number): void {
    // A clock that was set back before this run must not refuse the deadlines that follow from it.
    this.#leadMs = Math.max(0, this.#journal.watermarkMs - nowMs);
    const journalMs = this.#journalMs(nowMs);
    // Read all before writing any: a journal may be read lazily.
    const entries = [...this.#journal.load()].map((row) => this.#writer.restore(row, journalMs));
    for (const entry of entries) {
      this.#entries.add(entry);
      if (!entry.isRunning) continue;
      const error = new ZlError('call.unknown_outcome', 'the bridge stopped while it ran');
      this.#end(entry, { status: 'unknown', error });
    }
    this.tick(nowMs);
  }

  /** Takes no new call from now on: it counts as lost on the way, and its caller asks again. */
  drain(): void {
    this.#isDraining = true;
  }

  attached(epoch: number): void {
    this.#completeEpochs = [...this.#completeEpochs, epoch].slice(-MAX_COMPLETE_EPOCHS);
    this.#sender.attach(epoch);
  }

  detached(): void {
    this.#sender.detach();
  }

  /** The end of a clean run: nothing may begin after it. */
  close(): void {
    this.#tryToWrite(() => this.#journal.complete(this.#completeEpochs));
  }

  /** `host` is the name of the host that sent the frame; empty where the relay names none. */
  frame(frame: Frame, nowMs: number, host = ''): void {
    const { epoch } = this.#sender;
    if (epoch === undefined) return;
    const callId = callKey(frame.callId);
    const entry = this.#entries.get(callId);
    const standing = { callId, known: entry, currentEpoch: epoch, host };
    if (entry?.belongsTo(host) === false) {
      const isAsked = frame.kind === FrameKind.CALL || frame.kind === FrameKind.RESUME;
      if (isAsked) this.#refuse(callId, RefusedReason.OTHER_HOST);
    } else if (frame.kind === FrameKind.CALL) {
      this.#onCall(frame, standing, nowMs);
    } else if (frame.epoch < epoch) {
      // A stalled owner of an older lease is ignored.
    } else if (frame.kind === FrameKind.RESUME) {
      this.#onResume(frame, standing, nowMs);
    } else if (entry) {
      // A caller cancels at its deadline too; a call past the deadline has timed out by our clock.
      if (frame.kind === FrameKind.CANCEL) this.tick(nowMs);
      this.#onControl(frame, entry);
    }
  }

  /**
   * Called just before the tool can act. Returns how long it may take; at 0 it must not run.
   * It reads the clock itself, again after the write: a disk may take seconds.
   */
  begin(callId: string, { durable }: { readonly durable: boolean }, now: () => number): number {
    const entry = this.#entries.get(callId);
    if (entry === undefined) return 0;
    // Timers stop while the machine sleeps, so no tick need have come at the deadline.
    if (entry.endsMs <= this.#journalMs(now())) this.tick(now());
    const hasBegun = this.#tryToWrite(() => this.#writer.begin(entry, durable));
    if (hasBegun === undefined) this.#drop(entry);
    if (!hasBegun) return 0;
    const leftMs = entry.endsMs - this.#journalMs(now());
    if (leftMs > 0) return leftMs;
    this.tick(now());
    return 0;
  }

  /** Reports progress to a caller that wants it: best effort, never journalled. */
  progress(callId: string, report: CallProgress): void {
    const entry = this.#entries.get(callId);
    if (entry?.state.name !== 'dispatched' || !entry.wantsProgress) return;
    this.#sender.progress(entry, report);
  }

  /** How the call ended. Has no effect when an outcome is already stated. */
  finished(callId: string, finish: Finish): void {
    const entry = this.#entries.get(callId);
    if (entry === undefined || !('call' in entry.state)) return;
    const { state } = entry;
    const hasBegun = state.name === 'dispatched';
    // What has had effects was not denied.
    if (hasBegun ? finish.status === 'denied' && state.durable : finish.status === 'done') {
      throw new ZlError('internal', `a call cannot be ${finish.status}: begun is ${hasBegun}`);
    }
    const excess =
      finish.status === 'done' ? this.#keep(entry, state.call, finish.result) : undefined;
    this.#end(entry, excess ? { status: 'failed', error: excess } : finish);
  }

  /** The receipt of an outcome that the sink had to seal. */
  sealed(callId: string, seal: Seal): void {
    const entry = this.#entries.get(callId);
    if (entry !== undefined) this.#seal(entry, seal);
  }

  tick(nowMs: number): void {
    const journalMs = this.#journalMs(nowMs);
    for (const entry of this.#entries.expired(journalMs)) {
      const what = entry.state.name === 'received' ? 'did not begin' : 'not finished';
      const error = new ZlError('tool.timeout', `${what} by its deadline`);
      this.#end(entry, { status: 'failed', error });
      this.#sink.abort(entry.callId, 'deadline');
    }
    this.#tryToWrite(() => this.#entries.sweep(journalMs));
    this.#retryWrites(journalMs);
  }

  /** The clock by which callers state deadlines to this journal. */
  #journalMs(nowMs: number): number {
    return nowMs + this.#leadMs;
  }

  #onControl({ kind, offset }: Frame, entry: CalleeEntry): void {
    switch (kind) {
      case FrameKind.CREDIT:
        entry.outbox.allow(offset);
        this.#sender.pump(entry);
        break;
      case FrameKind.CANCEL:
        this.#onCancel(entry);
        break;
      case FrameKind.ACK:
        // Without room the journal keeps the result a while longer, which harms nobody.
        this.#tryToWrite(() => this.#writer.acknowledge(entry));
        this.#entries.changed(entry);
        break;
    }
  }

  #onCall(frame: Frame, standing: Standing, nowMs: number): void {
    const { callId, known, currentEpoch, host } = standing;
    // A copy: the call outlives the buffer of the frame.
    const request = Uint8Array.from(frame.payload);
    const journalMs = this.#journalMs(nowMs);
    const message = readCall(callId, request, journalMs);
    const { epoch } = frame;
    const latestDeadlineMs = journalMs + this.#limits.maxAheadMs;
    const arrival = { epoch, currentEpoch, known, isFull: this.#isFull, latestDeadlineMs };
    const refusal = refusalOf(message, arrival, this.#journal);
    if (message === undefined || refusal !== undefined) {
      this.#refuse(callId, refusal ?? RefusedReason.MALFORMED);
    } else if (known) {
      known.wantsProgress = message.call.wantsProgress;
      known.outbox.allow(message.credit);
      this.#sender.answer(known, 0);
    } else if (!this.#isDraining) {
      this.#accept(message, { request, journalMs, currentEpoch, host });
    }
  }

  #accept(
    { call, credit, firstDeadlineMs }: CallMessage,
    from: {
      readonly request: Uint8Array;
      readonly journalMs: number;
      readonly currentEpoch: number;
      readonly host: string;
    },
  ): void {
    const { callId, digest, deadlineMs: endsMs } = call;
    const key = { callId, digest, deadlineMs: firstDeadlineMs, endsMs, host: from.host };
    const entry = new CalleeEntry(key, { name: 'received', call, request: from.request });
    entry.epoch = from.currentEpoch;
    entry.wantsProgress = call.wantsProgress;
    entry.outbox.allow(credit);
    const load = { nowMs: from.journalMs, running: this.running };
    const error = obstacleTo(call, load, this.#limits);
    this.#entries.add(entry);
    if (error) this.#end(entry, { status: 'failed', error });
    else this.#sink.dispatch(call);
  }

  #onResume({ offset, payload }: Frame, { callId, known }: Standing, nowMs: number): void {
    const message = readMessage(ResumeSchema, payload);
    if (message === undefined) return;
    if (known === undefined || !sameBytes(message.journalId, this.#journal.id)) {
      const { id: journalId } = this.#journal;
      const journalMs = this.#journalMs(nowMs);
      const epochs = this.#completeEpochs;
      this.#sender.write(callId, notSeen({ journalId, epochs, journalMs }));
    } else if (sameBytes(message.digest, known.digest)) {
      known.wantsProgress = message.features.includes(PROGRESS_FEATURE);
      known.outbox.limitTo(Number(message.credit));
      this.#sender.answer(known, offset);
    } else {
      this.#refuse(callId, RefusedReason.DIGEST_MISMATCH);
    }
  }

  #onCancel(entry: CalleeEntry): void {
    if (!entry.isRunning) return;
    if (entry.state.name === 'received') {
      const error = new ZlError('call.cancelled', 'cancelled before it ran');
      this.#end(entry, { status: 'cancelled', error });
    }
    this.#sink.abort(entry.callId, 'cancelled');
  }

  get #isFull(): boolean {
    const { maxEntries, maxHeldBytes } = this.#limits;
    return this.#entries.size >= maxEntries || this.#entries.heldBytes >= maxHeldBytes;
  }

  #refuse(callId: string, reason: RefusedReason): void {
    this.#sender.write(callId, refused(reason, this.#journal.id));
  }

  /** Stores the result, or returns the error that says which bound it exceeds. */
  #keep(entry: CalleeEntry, call: CalleeCall, result: Uint8Array): ZlError | undefined {
    const heldBytes = this.#entries.heldBytes + result.length;
    const sizes = { resultBytes: result.length, heldBytes };
    const excess = excessOf(call, sizes, this.#limits);
    if (excess) return excess;
    entry.outbox.result = result;
    this.#entries.changed(entry);
    return undefined;
  }

  #end(entry: CalleeEntry, finish: Finish): void {
    const ended = this.#writer.end(entry, finish);
    if (ended !== undefined) this.#sink.seal(ended.call, ended.stated);
  }

  /** Returns false when the journal has no room for the outcome. */
  #seal(entry: CalleeEntry, seal: Seal): boolean {
    const { state } = entry;
    const isSealed = this.#tryToWrite(() => this.#writer.seal(entry, seal));
    if (isSealed === undefined) {
      if (state.name === 'sealing' && state.hasBegun) this.#unwritten.set(entry, seal);
      else this.#drop(entry);
      return false;
    }
    if (!isSealed) return true;
    this.#entries.changed(entry);
    this.#sender.pump(entry);
    return true;
  }

  #retryWrites(nowMs: number): void {
    if (nowMs < this.#retryAtMs) return;
    this.#retryAtMs = nowMs + RETRY_WRITE_MS;
    for (const [entry, seal] of this.#unwritten) {
      this.#unwritten.delete(entry);
      if (!this.#seal(entry, seal)) return;
    }
  }

  /** A call that has not begun and that the journal has no room for: its caller asks again. */
  #drop(entry: CalleeEntry): void {
    this.#entries.remove(entry);
    this.#refuse(entry.callId, RefusedReason.BUSY);
  }

  /** Returns undefined when the journal had no room; the write then did nothing. */
  #tryToWrite<T>(write: () => T): T | undefined {
    try {
      return write();
    } catch (error) {
      if (error instanceof ZlError && error.id === 'journal.failed') return undefined;
      throw error;
    }
  }
}
