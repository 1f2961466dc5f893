import type { ChatEvent } from '@zerolatency/proto/agent';

export interface EventQueueBounds {
  readonly maxEvents: number;
  readonly maxChars: number;
}

// About what a fast model says in one second: a reader that lags more is not reading along.
export const eventQueueBounds: EventQueueBounds = { maxEvents: 256, maxChars: 256 * 1024 };

// A merged delta stays small beside gRPC's default message limit of 4 MiB.
const MAX_DELTA_CHARS = 16 * 1024;

/**
 * Between the turns of one stream and the one reader of it. Deltas the reader
 * has not taken yet merge into one event; once the queue is full, whoever
 * produces waits for room(), which is how a slow reader stops the provider.
 */
export class EventQueue {
  readonly #bounds: EventQueueBounds;
  #events: ChatEvent[] = [];
  #chars = 0;
  #closed = false;
  #reader: ((result: IteratorResult<ChatEvent, undefined>) => void) | undefined;
  #waiting: (() => void)[] = [];

  constructor(bounds: EventQueueBounds = eventQueueBounds) {
    this.#bounds = bounds;
  }

  get full(): boolean {
    return this.#events.length >= this.#bounds.maxEvents || this.#chars >= this.#bounds.maxChars;
  }

  /** Merges the text into the newest unread event if that is a delta of the same turn. */
  merge(turnId: string, text: string): boolean {
    const tail = this.#events.at(-1);
    if (tail?.event.case !== 'assistantDelta' || tail.turnId !== turnId) return false;
    if (tail.event.value.text.length >= MAX_DELTA_CHARS) return false;
    tail.event.value.text += text;
    this.#chars += text.length;
    return true;
  }

  /** Never refuses, so that an ending always fits; producers of bulk ask room() first. */
  push(event: ChatEvent): void {
    if (this.#closed) return;
    if (this.#reader !== undefined) {
      const deliver = this.#reader;
      this.#reader = undefined;
      deliver({ done: false, value: event });
      return;
    }
    this.#events.push(event);
    this.#chars += sizeOf(event);
  }

  /** Resolves when half of the queue is free, or nobody reads any more, or the signal aborts. */
  async room(signal: AbortSignal): Promise<void> {
    if (!this.full || this.#closed || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    this.#waiting.push(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    await promise;
    signal.removeEventListener('abort', onAbort);
  }

  next(): Promise<IteratorResult<ChatEvent, undefined>> {
    const event = this.#events.shift();
    if (event === undefined) {
      if (this.#closed) return Promise.resolve({ done: true, value: undefined });
      return new Promise((resolve) => {
        this.#reader = resolve;
      });
    }
    this.#chars -= sizeOf(event);
    this.#wakeProducers();
    return Promise.resolve({ done: false, value: event });
  }

  /** No more events; the reader still gets those that are queued. */
  close(): void {
    this.#closed = true;
    this.#reader?.({ done: true, value: undefined });
    this.#reader = undefined;
    this.#wakeProducers();
  }

  /** The reader left: what is queued goes, and producers run on unread. */
  abandon(): void {
    this.#events = [];
    this.#chars = 0;
    this.close();
  }

  #wakeProducers(): void {
    const { maxEvents, maxChars } = this.#bounds;
    const hasRoom = this.#events.length <= maxEvents / 2 && this.#chars <= maxChars / 2;
    if (this.#waiting.length === 0 || !(hasRoom || this.#closed)) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function sizeOf(event: ChatEvent): number {
  switch (event.event.case) {
    case 'assistantDelta':
      return event.event.value.text.length;
    case 'toolCallStarted':
      return event.event.value.argumentsJson.length;
    case 'toolCallDone':
      return event.event.value.resultJson.length + event.event.value.receiptJson.length;
    default:
      return 0;
  }
}
