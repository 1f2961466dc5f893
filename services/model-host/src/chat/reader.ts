import { create } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type ChatEvent, ChatEventSchema } from '@zerolatency/proto/agent';
import type { LogEntry, LogListener, TurnLog } from '../turn/turn-log.ts';

/** A merged delta stays small beside gRPC's default message limit of 4 MiB. */
const MAX_DELTA_CHARS = 16 * 1024;

export interface ReaderOptions {
  readonly onAppend: () => void;
  /** So many deltas went into another one, because the reader was slow. */
  readonly onMerged: (deltas: number) => void;
}

/** A view of one turn's log from a sequence on. Deltas the reader has not taken yet merge. */
export class TurnReader implements LogListener {
  takenBytes = 0;
  readonly #log: TurnLog;
  readonly #options: ReaderOptions;
  /** The last event that was dropped before this reader came. */
  readonly #lostTo: number;
  #next: number;

  /** @throws request.invalid when the log has not come to the sequence. */
  constructor(log: TurnLog, from: number, options: ReaderOptions) {
    const { firstSequence, nextSequence, turnId } = log;
    if (from < 1 || from > nextSequence) {
      const range = `turn ${turnId} has events 1 to ${nextSequence - 1}, not ${from}`;
      throw new ZlError('request.invalid', range);
    }
    this.#log = log;
    this.#options = options;
    this.#next = from;
    this.#lostTo = firstSequence - 1;
    this.takenBytes = log.at(Math.max(from, firstSequence))?.startBytes ?? log.endBytes;
    log.attach(this);
  }

  get isDone(): boolean {
    return this.#log.isClosed && this.#log.at(this.#next) === undefined;
  }

  onAppend(): void {
    this.#options.onAppend();
  }

  take(): ChatEvent | undefined {
    if (this.#next <= this.#lostTo) return this.#takeGap();
    const first = this.#log.at(this.#next);
    if (first === undefined) return undefined;
    const { event } = first;
    if (event.case === 'assistantDelta') return this.#takeDeltas(first, event.value.text ?? '');
    return this.#taken(first, first, event);
  }

  close(): void {
    this.#log.detach(this);
  }

  #takeDeltas(first: LogEntry, text: string): ChatEvent {
    let merged = text;
    let last = first;
    while (merged.length < MAX_DELTA_CHARS) {
      const next = this.#log.at(last.sequence + 1);
      if (next?.event.case !== 'assistantDelta') break;
      merged += next.event.value.text;
      last = next;
    }
    if (last !== first) this.#options.onMerged(last.sequence - first.sequence);
    return this.#taken(first, last, { case: 'assistantDelta', value: { text: merged } });
  }

  #takeGap(): ChatEvent {
    const value = { reason: 'these events are no longer kept' };
    return this.#shown(this.#next, this.#lostTo, { case: 'streamGap', value });
  }

  #taken(first: LogEntry, last: LogEntry, event: LogEntry['event']): ChatEvent {
    this.takenBytes = last.endBytes;
    this.#log.taken();
    return this.#shown(first.sequence, last.sequence, event);
  }

  #shown(first: number, last: number, event: LogEntry['event']): ChatEvent {
    this.#next = last + 1;
    const { sessionId, turnId } = this.#log;
    return create(ChatEventSchema, {
      sequence: BigInt(last),
      firstSequence: BigInt(first),
      sessionId,
      turnId,
      event,
    });
  }
}

/** Refusals that a client may leave unread before its next request waits. */
const MAX_UNREAD_LOGS = 64;

/** Every event of one stream: its turns one after another, refusals in between. */
export class ChatReader {
  readonly #onMerged: ReaderOptions['onMerged'];
  #turns: TurnReader[] = [];
  #isClosed = false;
  #wake: () => void = () => {};
  #onRoom: () => void = () => {};

  constructor(onMerged: ReaderOptions['onMerged']) {
    this.#onMerged = onMerged;
  }

  /** Reads the turn after all that came before it. @throws request.invalid */
  follow(log: TurnLog, from = 1): void {
    if (this.#isClosed) return;
    this.#turns.push(this.#open(log, from));
    this.#wake();
  }

  /** Reads the turn before whatever is unread. */
  interject(log: TurnLog): void {
    if (!this.#isClosed) this.#turns.unshift(this.#open(log, 1));
    this.#wake();
  }

  async next(): Promise<IteratorResult<ChatEvent, undefined>> {
    for (;;) {
      const event = this.#take();
      if (event !== undefined) return { done: false, value: event };
      if (this.#isClosed && this.#turns.length === 0) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves when the client has read enough of its refusals, or on abort. */
  async room(signal: AbortSignal): Promise<void> {
    if (this.#turns.length < MAX_UNREAD_LOGS || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    this.#onRoom = resolve;
    signal.addEventListener('abort', onAbort, { once: true });
    await promise;
    signal.removeEventListener('abort', onAbort);
  }

  /** No turn follows; what was followed is read to its end. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** The client left: its turns go on unread. */
  abandon(): void {
    for (const turn of this.#turns) turn.close();
    this.#turns = [];
    this.close();
    this.#onRoom();
  }

  #take(): ChatEvent | undefined {
    for (;;) {
      const turn = this.#turns[0];
      const event = turn?.take();
      if (event !== undefined || turn?.isDone !== true) return event;
      turn.close();
      this.#turns.shift();
      if (this.#turns.length < MAX_UNREAD_LOGS) this.#onRoom();
    }
  }

  #open(log: TurnLog, from: number): TurnReader {
    return new TurnReader(log, from, { onAppend: () => this.#wake(), onMerged: this.#onMerged });
  }
}
