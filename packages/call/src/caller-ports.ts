import type { Frame } from '@zerolatency/frame';
import type { CallerOutcome, CallProgress, CallRequest } from './call.ts';

/** The current route to the device. */
export interface Route {
  /** The device's handle on the link. */
  readonly device: number;
  readonly epoch: number;
  readonly journalId: Uint8Array;
  /** What the journal's clock shows now, or less; absent for a device that does not state it. */
  readonly journalNowMs?: () => number;
}

/** The content of the ledger's intent record, written before the call is sent (rule 8). */
export interface CallIntent {
  readonly callId: string;
  readonly digest: Uint8Array;
  readonly journalId: Uint8Array;
  readonly deadlineMs: number;
  /** The caller settles the call by then, whatever it knows. */
  readonly settleByMs: number;
}

export interface CallerRequest extends CallRequest {
  readonly settleByMs: number;
  /** False: running it twice harms nobody. Absent: it may have effects. */
  readonly hasEffects?: boolean;
}

/** Called from inside the input that caused it, after the state has changed. */
export interface CallerSink {
  send(frame: Frame): void;
  /** Bytes of the result, in order, each once. A view into the frame that carried them. */
  data(chunk: Uint8Array): void;
  /** What the tool reports while it runs; may be lost, repeated or late. */
  progress?(report: CallProgress): void;
  /** Exactly once. */
  settled(outcome: CallerOutcome): void;
}

export interface CallerLimits {
  /** Bytes of the result that may be in flight or unconsumed. */
  readonly windowBytes: number;
  /** A cancelled call waits this long for the device's outcome. */
  readonly cancelGraceMs: number;
  /** A silent device is asked again after this long. The delay doubles each time. */
  readonly probeMs: number;
  readonly maxProbeMs: number;
}

export const CALLER_LIMITS: CallerLimits = {
  windowBytes: 256 * 1024,
  cancelGraceMs: 2_000,
  probeMs: 2_000,
  maxProbeMs: 15_000,
};
