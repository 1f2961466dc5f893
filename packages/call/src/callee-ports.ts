import type { ErrorId, ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import type { Outcome } from '@zerolatency/receipts';
import type { CallRequest } from './call-request.ts';

export interface CalleeCall extends CallRequest {
  readonly digest: Uint8Array;
  /** The caller accepts progress reports. */
  readonly wantsProgress: boolean;
}

/** What a device states of a call, for its receipt. */
export interface Ending {
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

/** How the runner of a tool reports its end. */
export type Finish =
  | { readonly status: 'done'; readonly result?: Uint8Array }
  | { readonly status: 'failed' | 'denied' | 'cancelled' | 'unknown'; readonly error: ZlError };

export type AbortReason = 'cancelled' | 'deadline' | 'too_large';

/** Called from inside the input that caused it, after the state has changed. */
export interface CalleeSink {
  send(frame: Frame): void;
  /** Decide, then begin() and run, or finished() with the reason why not. */
  dispatch(call: CalleeCall): void;
  /** Stop working on it. */
  abort(callId: string, reason: AbortReason): void;
  /** Sign this outcome and hand the receipt to sealed(), now or later. Outcomes the callee states itself are signed too. */
  seal(call: CalleeCall, ending: Ending): void;
}

export interface CalleeLimits {
  /** Calls received or dispatched at one time; one more ends as failed limit.exceeded. */
  readonly maxRunning: number;
  /** Bytes of results kept for callers; a result beyond ends as failed limit.exceeded. */
  readonly maxHeldBytes: number;
  /** Entries of all states; one more is refused as BUSY and leaves no entry. */
  readonly maxEntries: number;
  /** Upper bound on one result, whatever the caller allows. */
  readonly maxResultBytes: number;
  /** A call with a deadline further ahead is refused: its entry would stay as long. */
  readonly maxAheadMs: number;
  /** How long after its deadline an entry stays, for a caller that asks late. */
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

/** Small enough that other calls' frames get in between. */
export const CHUNK_BYTES = 64 * 1024;
