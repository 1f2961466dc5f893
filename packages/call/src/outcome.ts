import { type ErrorId, isErrorId, ZlError } from '@zerolatency/errors';
import { type Outcome as OutcomeMessage, OutcomeStatus } from '@zerolatency/proto/call';
import type { Outcome } from '@zerolatency/receipts';

/** How a call ended, as its caller knows it. */
export interface CallOutcome {
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
export function statedHere(status: Outcome, id: ErrorId, message: string): CallOutcome {
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

const WIRE_STATUS = {
  done: OutcomeStatus.DONE,
  failed: OutcomeStatus.FAILED,
  denied: OutcomeStatus.DENIED,
  cancelled: OutcomeStatus.CANCELLED,
  unknown: OutcomeStatus.UNKNOWN,
} as const satisfies Record<Outcome, OutcomeStatus>;

export function toWireStatus(status: Outcome): OutcomeStatus {
  return WIRE_STATUS[status];
}

/** A status that this version does not know tells nothing of what happened. */
function fromWireStatus(status: OutcomeStatus): Outcome {
  switch (status) {
    case OutcomeStatus.DONE:
      return 'done';
    case OutcomeStatus.FAILED:
      return 'failed';
    case OutcomeStatus.DENIED:
      return 'denied';
    case OutcomeStatus.CANCELLED:
      return 'cancelled';
    default:
      return 'unknown';
  }
}

/** What the device stated; `resultBytes` is told beside it, in the frame's offset. */
export function fromWireOutcome(message: OutcomeMessage, resultBytes: number): CallOutcome {
  const status = fromWireStatus(message.status);
  const told = {
    receipt: message.receipt,
    deviceUs: Number(message.deviceUs),
    serverUs: Number(message.serverUs),
  };
  if (status === 'done') {
    return { status, resultDigest: message.resultDigest, resultBytes, ...told };
  }
  const id = isErrorId(message.errorId) ? message.errorId : DEFAULT_ERROR[status];
  const error = new ZlError(id, message.errorMessage);
  return { status, error, resultDigest: NO_BYTES, resultBytes: 0, ...told };
}

const DEFAULT_ERROR = {
  failed: 'tool.failed',
  denied: 'policy.denied',
  cancelled: 'call.cancelled',
  unknown: 'call.unknown_outcome',
} as const satisfies Record<Exclude<Outcome, 'done'>, ErrorId>;
