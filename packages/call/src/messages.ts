import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { type ErrorId, isErrorId, ZlError } from '@zerolatency/errors';
import {
  callIdFromKey,
  type Frame,
  FrameKind,
  NO_PAYLOAD,
  PROGRESS_FEATURE,
  readMessage,
} from '@zerolatency/frame';
import {
  type Call,
  CallSchema,
  NotSeenSchema,
  type Outcome as OutcomeMessage,
  OutcomeSchema,
  OutcomeStatus,
  type Progress,
  ProgressSchema,
  RefusedReason,
  RefusedSchema,
} from '@zerolatency/proto/call';
import type { Outcome } from '@zerolatency/receipts';
// Not the whole package: it loads the schema compiler.
import { ARGUMENT_SALT_BYTES } from '@zerolatency/receipts/arguments-digest';
import { type CallerOutcome, type CallProgress, type McpRequest, NO_BYTES } from './call.ts';
import type { CalleeCall, CalleeOutcome, Seal } from './callee-ports.ts';

// The payloads of call frames, read and written.

const DIGEST_BYTES = 32;
const MAX_TEXT_CHARS = 8_192;

/**
 * SHA-256 of {"argumentSalt","method","params","server"} as canonical JSON. The members are
 * in canonical order, and JSON.stringify writes strings as RFC 8785 asks.
 */
export function requestDigest({ server, method, params, argumentSalt }: McpRequest): Uint8Array {
  const salt = Buffer.from(argumentSalt).toString('hex');
  return createHash('sha256')
    .update(`{"argumentSalt":"${salt}","method":${JSON.stringify(method)},"params":`)
    .update(params)
    .update(`,"server":${JSON.stringify(server)}}`)
    .digest();
}

/** The content of a CALL frame. */
export interface CallMessage {
  readonly call: CalleeCall;
  readonly journalId: Uint8Array;
  readonly credit: number;
  /** The deadline that the watermark is compared with: the same in every CALL of the call. */
  readonly firstDeadlineMs: number;
}

/**
 * Returns undefined for a malformed payload. The parts of a call are views into
 * `payload`, so it must outlive the call. It arrives at `nowMs` by the journal's clock.
 */
export function readCall(
  callId: string,
  payload: Uint8Array,
  nowMs: number,
): CallMessage | undefined {
  const message = readMessage(CallSchema, payload);
  if (message === undefined || message.digest.length !== DIGEST_BYTES) return undefined;
  const { digest, journalId, server, method, params, argumentSalt } = message;
  if (argumentSalt.length !== ARGUMENT_SALT_BYTES) return undefined;
  const { deadlineMs, firstDeadlineMs } = deadlinesOf(message, nowMs);
  if (!Number.isSafeInteger(firstDeadlineMs) || firstDeadlineMs === 0) return undefined;
  if (server === '' || method === '') return undefined;
  if (!sameBytes(digest, requestDigest({ server, method, params, argumentSalt }))) return undefined;
  const { tenant = '', user = '', roles = [] } = message.principal ?? {};
  const call: CalleeCall = {
    callId,
    digest,
    deadlineMs,
    server,
    method,
    params,
    argumentSalt,
    maxBytes: Number(message.maxBytes),
    bundleDigest: message.bundleDigest,
    principal: { tenant, user, roles },
    traceparent: message.traceparent,
    wantsProgress: message.features.includes(PROGRESS_FEATURE),
  };
  return { call, journalId, credit: Number(message.credit), firstDeadlineMs };
}

/** By the journal's clock, or by the caller's where the caller does not know the journal's. */
function deadlinesOf(message: Call, nowMs: number) {
  const firstDeadlineMs = Number(message.journalDeadlineMs);
  if (firstDeadlineMs === 0) {
    const deadlineMs = Number(message.deadlineUnixMs);
    return { deadlineMs, firstDeadlineMs: deadlineMs };
  }
  const sentMs = Math.min(Number(message.sentJournalMs), nowMs);
  return { deadlineMs: sentMs + Number(message.timeLeftMs), firstDeadlineMs };
}

export type CalleeContent = Pick<Frame, 'kind'> & Partial<Pick<Frame, 'offset' | 'payload'>>;

export function calleeFrame(callId: string, epoch: number, content: CalleeContent): Frame {
  return {
    kind: content.kind,
    flags: 0,
    device: 0,
    callId: callIdFromKey(callId),
    offset: content.offset ?? 0,
    epoch,
    payload: content.payload ?? NO_PAYLOAD,
  };
}

interface NotSeenFields {
  readonly journalId: Uint8Array;
  /** Under which the journal has lost no call; empty from a bridge that does not say. */
  readonly epochs: readonly number[];
  /** What the journal's clock shows; 0 from a bridge that does not say. */
  readonly journalMs: number;
}

export function notSeen({ journalId, epochs, journalMs }: NotSeenFields): CalleeContent {
  const message = create(NotSeenSchema, {
    journalId,
    epochs: epochs.map(BigInt),
    journalMs: BigInt(Math.floor(journalMs)),
  });
  return { kind: FrameKind.NOT_SEEN, payload: toBinary(NotSeenSchema, message) };
}

export function refused(reason: RefusedReason, journalId: Uint8Array): CalleeContent {
  const payload = toBinary(RefusedSchema, create(RefusedSchema, { reason, journalId }));
  return { kind: FrameKind.REFUSED, payload };
}

export function progressContent({ progress, total, message }: CallProgress): CalleeContent {
  const report = create(ProgressSchema, { progress, total: total ?? 0, message: message ?? '' });
  return { kind: FrameKind.PROGRESS, payload: toBinary(ProgressSchema, report) };
}

/** The payload of OUTCOME, as the journal keeps it. */
export function outcomePayload(outcome: CalleeOutcome, seal: Seal): Uint8Array {
  const { status, resultDigest, errorId, errorMessage } = outcome;
  const message = create(OutcomeSchema, {
    status: WIRE_STATUS[status],
    resultDigest,
    errorId,
    errorMessage,
    receipt: seal.receipt,
    deviceUs: BigInt(Math.round(seal.deviceUs)),
    serverUs: BigInt(Math.round(seal.serverUs)),
  });
  return toBinary(OutcomeSchema, message);
}

/** What a frame from the device says about its call. */
export type DeviceMessage =
  | { readonly type: 'data'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: 'outcome'; readonly outcome: CallerOutcome }
  | ({ readonly type: 'not seen' } & NotSeenFields)
  | { readonly type: 'refused'; readonly reason: RefusedReason }
  | { readonly type: 'progress'; readonly report: CallProgress }
  | { readonly type: 'unreadable' };

const UNREADABLE: DeviceMessage = { type: 'unreadable' };

export function readDeviceMessage({ kind, offset, payload }: Frame): DeviceMessage {
  switch (kind) {
    case FrameKind.DATA:
      return { type: 'data', offset, bytes: payload };
    case FrameKind.OUTCOME: {
      const message = readMessage(OutcomeSchema, payload);
      return message ? { type: 'outcome', outcome: fromWireOutcome(message, offset) } : UNREADABLE;
    }
    case FrameKind.NOT_SEEN: {
      const message = readMessage(NotSeenSchema, payload);
      const journalMs = Number(message?.journalMs);
      // A caller states deadlines by it, and a larger one could not be sent.
      if (message === undefined || !Number.isSafeInteger(journalMs)) return UNREADABLE;
      const { journalId, epochs } = message;
      return { type: 'not seen', journalId, epochs: epochs.map(Number), journalMs };
    }
    case FrameKind.REFUSED: {
      const message = readMessage(RefusedSchema, payload);
      return message ? { type: 'refused', reason: message.reason } : UNREADABLE;
    }
    case FrameKind.PROGRESS: {
      const message = readMessage(ProgressSchema, payload);
      return message ? { type: 'progress', report: readProgress(message) } : UNREADABLE;
    }
    default:
      return UNREADABLE;
  }
}

function readProgress({ progress, total, message }: Progress): CallProgress {
  return {
    progress,
    ...(total === 0 ? {} : { total }),
    ...(message === '' ? {} : { message: boundedText(message) }),
  };
}

/** A tool's text may be long, and a hostile device's longer. */
export function boundedText(text: string): string {
  return text.slice(0, MAX_TEXT_CHARS).toWellFormed();
}

/** The message of a refusal. */
export function refusalText(reason: RefusedReason): string {
  switch (reason) {
    case RefusedReason.OTHER_JOURNAL:
      return 'the device has another journal than the one the call was meant for';
    case RefusedReason.PAST_WATERMARK:
      return 'the device has forgotten calls of that deadline';
    case RefusedReason.DIGEST_MISMATCH:
      return 'the device knows the call id with other arguments';
    case RefusedReason.OTHER_HOST:
      return 'the call belongs to another host';
    case RefusedReason.DEADLINE_TOO_FAR:
      return 'the deadline is too far ahead by the clock of the device';
    case RefusedReason.MALFORMED:
      return 'the device cannot read the call: are host and bridge of one release?';
    default:
      return 'the device refused the call';
  }
}

const WIRE_STATUS = {
  done: OutcomeStatus.DONE,
  failed: OutcomeStatus.FAILED,
  denied: OutcomeStatus.DENIED,
  cancelled: OutcomeStatus.CANCELLED,
  unknown: OutcomeStatus.UNKNOWN,
} as const satisfies Record<Outcome, OutcomeStatus>;

/** A status of a later version says nothing about what happened. */
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

/** `resultBytes` is the offset of the frame. */
function fromWireOutcome(message: OutcomeMessage, resultBytes: number): CallerOutcome {
  const status = fromWireStatus(message.status);
  const reported = {
    receipt: message.receipt,
    deviceUs: microsOf(message.deviceUs),
    serverUs: microsOf(message.serverUs),
  };
  if (status === 'done') {
    return { status, resultDigest: message.resultDigest, resultBytes, ...reported };
  }
  const id = isErrorId(message.errorId) ? message.errorId : DEFAULT_ERROR[status];
  const error = new ZlError(id, boundedText(message.errorMessage));
  return { status, error, resultDigest: NO_BYTES, resultBytes: 0, ...reported };
}

/** A device may state any time, and an event's Duration holds no more than ten thousand years. */
function microsOf(stated: bigint): number {
  return Math.min(Number(stated), Number.MAX_SAFE_INTEGER);
}

const DEFAULT_ERROR = {
  failed: 'tool.failed',
  denied: 'policy.denied',
  cancelled: 'call.cancelled',
  unknown: 'call.unknown_outcome',
} as const satisfies Record<Exclude<Outcome, 'done'>, ErrorId>;

export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
