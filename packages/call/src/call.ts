import { type ErrorId, ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';
import type { Outcome } from '@zerolatency/receipts';

/** Progress of a running tool, in units of its own. */
export interface CallProgress {
  readonly progress: number;
  readonly total?: number;
  readonly message?: string;
}

/** What both ends know of a call, apart from where and when. */
export interface CallRequest extends McpRequest {
  /** 32 hexadecimal digits. */
  readonly callId: string;
  /** Absolute; the callee does not run the call after it. */
  readonly deadlineMs: number;
  /** Upper bound on the result. */
  readonly maxBytes: number;
  /** SHA-256 of the policy bundle under which the caller allowed the call. */
  readonly bundleDigest: Uint8Array;
  readonly principal: Identity;
  readonly traceparent: string;
}

export interface McpRequest {
  /** A server of the device's catalog, such as fs. */
  readonly server: string;
  /** Such as tools/call. */
  readonly method: string;
  /** Canonical JSON (RFC 8785). */
  readonly params: Uint8Array;
  /** Random for each call, so that neither this digest nor a receipt's reveals short arguments. */
  readonly argumentSalt: Uint8Array;
}

/** How a call ended, as its caller knows it. */
export interface CallerOutcome {
  readonly status: Outcome;
  /** Set unless done. */
  readonly error?: ZlError;
  /** SHA-256 of the whole result; empty unless done. */
  readonly resultDigest: Uint8Array;
  /** Length of the whole result. */
  readonly resultBytes: number;
  /** The device's receipt; empty where the caller itself had to state the outcome. */
  readonly receipt: Uint8Array;
  readonly deviceUs: number;
  readonly serverUs: number;
}

export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** An outcome that the caller states without the device. */
export function statedHere(status: Outcome, id: ErrorId, message: string): CallerOutcome {
  return {
    status,
    error: new ZlError(id, message),
    resultDigest: NO_BYTES,
    resultBytes: 0,
    receipt: NO_BYTES,
    deviceUs: 0,
    serverUs: 0,
  };
}
