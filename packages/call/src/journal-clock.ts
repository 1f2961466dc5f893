import { randomBytes } from 'node:crypto';
import { callIdFromKey, type Frame } from '@zerolatency/frame';
import type { Route } from './caller-ports.ts';
import { CallerSender } from './caller-sender.ts';
import { readDeviceMessage, sameBytes } from './messages.ts';

const CALL_ID_BYTES = 16;
const DIGEST_BYTES = 32;
/** Quartz drifts by up to 100 ppm, which is 60 ms in this time. */
const MAX_AGE_MS = 600_000;

export interface JournalClockOptions {
  readonly send: (frame: Frame) => void;
  /** Never steps, and counts the sleep of the machine: the journal's clock goes on meanwhile. */
  readonly steadyMs: () => number;
  readonly onRead?: (journalMs: number) => void;
  /** The question was refused, as one too many for the relay. */
  readonly onRefused?: () => void;
}

/**
 * A caller's reading of the journal's clock on one route. It resumes a call that nobody made, and
 * NOT_SEEN states the time: the reading is early by the way back.
 */
export class JournalClock {
  readonly #route: Route;
  readonly #options: JournalClockOptions;
  readonly #read = Promise.withResolvers<void>();
  #callId: Uint8Array | undefined;
  #askedMs = 0;
  #aheadMs = 0;

  constructor(route: Route, options: JournalClockOptions) {
    this.#route = route;
    this.#options = options;
  }

  /** Resolves with the first answer. */
  ask(): Promise<void> {
    const { send, steadyMs } = this.#options;
    // A late answer to an earlier question would put the clock back.
    const callId = randomBytes(CALL_ID_BYTES).toString('hex');
    this.#callId = callIdFromKey(callId);
    this.#askedMs = steadyMs();
    const sender = new CallerSender({ callId, digest: new Uint8Array(DIGEST_BYTES) }, send);
    sender.bind(this.#route.journalId);
    sender.take(this.#route);
    sender.resume(0, 0);
    return this.#read.promise;
  }

  /** Returns true for the answer. One of another epoch may be of another clock. */
  hear(frame: Frame): boolean {
    if (this.#callId === undefined || !sameBytes(frame.callId, this.#callId)) return false;
    if (frame.epoch !== this.#route.epoch) return false;
    const message = readDeviceMessage(frame);
    const { steadyMs, onRead, onRefused } = this.#options;
    if (message.type === 'refused') onRefused?.();
    if (message.type !== 'not seen') return false;
    this.#callId = undefined;
    this.#aheadMs = message.journalMs - steadyMs();
    onRead?.(message.journalMs);
    this.#read.resolve();
    return true;
  }

  /** Only after the first answer. */
  nowMs(): number {
    const ownMs = this.#options.steadyMs();
    if (ownMs - this.#askedMs > MAX_AGE_MS) void this.ask();
    return ownMs + this.#aheadMs;
  }
}
