import type { Frame } from '@zerolatency/frame';
import type { CallProgress, CallRequest } from './call-request.ts';
import type { CallOutcome } from './outcome.ts';

/** The way to the device that holds now. */
export interface Route {
  /** The device's handle on the link. */
  readonly device: number;
  readonly epoch: number;
  readonly journalId: Uint8Array;
}

/** What goes into the ledger before a call is first sent (rule 8). */
export interface CallIntent {
  readonly callId: string;
  readonly digest: Uint8Array;
  readonly journalId: Uint8Array;
  readonly deadlineMs: number;
  /** The caller states an outcome by then, whatever it knows. */
  readonly settleByMs: number;
}

export interface CallerRequest extends CallRequest {
  readonly settleByMs: number;
}

/** Called from inside the input that caused it, after the state has changed. */
export interface CallerSink {
  send(frame: Frame): void;
  /** Bytes of the result, in order, each once. A view into the frame that carried them. */
  data(chunk: Uint8Array): void;
  /** What the tool reports while it runs; may be lost, repeated or late. */
  progress?(report: CallProgress): void;
  /** Exactly once. */
  settled(outcome: CallOutcome): void;
}

export interface CallerLimits {
  /** Bytes of result that may be on their way and unconsumed. */
  readonly windowBytes: number;
  /** How long a cancelled call waits for the device's outcome. */
  readonly cancelGraceMs: number;
  /** A silent device is asked again after this long; doubled at each silence. */
  readonly probeMs: number;
  readonly maxProbeMs: number;
}

export const CALLER_LIMITS: CallerLimits = {
  windowBytes: 256 * 1024,
  cancelGraceMs: 2_000,
  probeMs: 2_000,
  maxProbeMs: 15_000,
};
