import { create, toBinary } from '@bufbuild/protobuf';
import { callIdFromKey, type Frame, FrameKind, NO_PAYLOAD } from '@zerolatency/frame';
import {
  NotSeenSchema,
  OutcomeSchema,
  ProgressSchema,
  type RefusedReason,
  RefusedSchema,
} from '@zerolatency/proto/call';
import type { CallProgress } from './call-request.ts';
import type { Ending, Seal } from './callee-ports.ts';
import { toWireStatus } from './outcome.ts';

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

export function notSeen(journalId: Uint8Array): CalleeContent {
  const payload = toBinary(NotSeenSchema, create(NotSeenSchema, { journalId }));
  return { kind: FrameKind.NOT_SEEN, payload };
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
export function outcomePayload(ending: Ending, seal: Seal): Uint8Array {
  const { status, resultDigest, errorId, errorMessage } = ending;
  const message = create(OutcomeSchema, {
    status: toWireStatus(status),
    resultDigest,
    errorId,
    errorMessage,
    receipt: seal.receipt,
    deviceUs: BigInt(Math.round(seal.deviceUs)),
    serverUs: BigInt(Math.round(seal.serverUs)),
  });
  return toBinary(OutcomeSchema, message);
}
