import type { ErrorId, ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import type { Outcome } from '@zerolatency/receipts';
import type { CallRequest } from './call.ts';

export interface CalleeCall extends CallRequest {
  readonly digest: Uint8Array;
  /** The caller's CALL asks for progress reports; a RESUME may end that. */
  readonly wantsProgress: boolean;
}

/** How a call ended, as the callee states it in its receipt. */
export interface CalleeOutcome {
  readonly status: Outcome;
  /** Empty when done. */
  readonly errorId: ErrorId | '';
  readonly errorMessage: string;
  /** Empty unless done. */
  readonly resultDigest: Uint8Array;
  readonly resultBytes: number;
}

export interface Seal {
  /** DSSE envelope, signed with the device's key. */
  readonly receipt: Uint8Array;
  readonly deviceUs: number;
  readonly serverUs: number;
}

/** How a tool ended, as its runner reports it. */
export type Finish =
  | { readonly status: 'done'; readonly result: Uint8Array }
  | { readonly status: 'failed' | 'denied' | 'cancelled' | 'unknown'; readonly error: ZlError };

export type AbortReason = 'cancelled' | 'deadline';

/** Called from inside the input that caused it, after the state has changed. */
export interface CalleeSink {
  send(frame: Frame): void;
  /** Decide, then begin() and run, or finished() with the reason why not. */
  dispatch(call: CalleeCall): void;
  /** Stop the work. */
  abort(callId: string, reason: AbortReason): void;
  /** Sign this outcome and pass the receipt to sealed(), now or later. The callee's own outcomes are signed too. */
  seal(call: CalleeCall, outcome: CalleeOutcome): void;
}

export interface CalleeLimits {
  /** Concurrent calls, received or dispatched. One more fails with limit.exceeded. */
  readonly maxRunning: number;
  /**
   * Bytes of results and outcomes kept for callers. A result beyond fails with
   * limit.exceeded, and at the limit a new call is refused as BUSY: its outcome is kept too.
   */
  readonly maxHeldBytes: number;
  /** Entries in all states. One more is refused as BUSY and leaves no entry. */
  readonly maxEntries: number;
  /** Upper bound on one result, whatever the caller allows. */
  readonly maxResultBytes: number;
  /** A call with a later deadline is refused: its entry would stay that long. */
  readonly maxAheadMs: number;
  /** An entry stays this long after its deadline, for a caller that asks late. */
  readonly retentionMs: number;
}

export const CALLEE_LIMITS: CalleeLimits = {
  maxRunning: 256,
  maxHeldBytes: 64 * 1024 * 1024,
  maxEntries: 100_000,
  maxResultBytes: 16 * 1024 * 1024,
  maxAheadMs: 24 * 60 * 60 * 1000,
  retentionMs: 60_000,
};
