import { type Frame, FrameKind } from '@zerolatency/frame';
import {
  NotSeenSchema,
  OutcomeSchema,
  type Progress,
  ProgressSchema,
  RefusedReason,
  RefusedSchema,
} from '@zerolatency/proto/call';
import type { CallProgress } from './call-request.ts';
import { type CallOutcome, fromWireOutcome } from './outcome.ts';
import { readMessage } from './read-message.ts';

/** What a frame from the device says about a call. */
export type DeviceWord =
  | { readonly says: 'data'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly says: 'outcome'; readonly outcome: CallOutcome }
  | { readonly says: 'not seen'; readonly journalId: Uint8Array }
  | { readonly says: 'refused'; readonly reason: RefusedReason }
  | { readonly says: 'progress'; readonly report: CallProgress }
  | { readonly says: 'nothing' };

const NOTHING: DeviceWord = { says: 'nothing' };

export function readDeviceWord({ kind, offset, payload }: Frame): DeviceWord {
  switch (kind) {
    case FrameKind.DATA:
      return { says: 'data', offset, bytes: payload };
    case FrameKind.OUTCOME: {
      const message = readMessage(OutcomeSchema, payload);
      return message ? { says: 'outcome', outcome: fromWireOutcome(message, offset) } : NOTHING;
    }
    case FrameKind.NOT_SEEN: {
      const message = readMessage(NotSeenSchema, payload);
      return message ? { says: 'not seen', journalId: message.journalId } : NOTHING;
    }
    case FrameKind.REFUSED: {
      const message = readMessage(RefusedSchema, payload);
      return message ? { says: 'refused', reason: message.reason } : NOTHING;
    }
    case FrameKind.PROGRESS: {
      const message = readMessage(ProgressSchema, payload);
      return message ? { says: 'progress', report: readProgress(message) } : NOTHING;
    }
    default:
      return NOTHING;
  }
}

function readProgress({ progress, total, message }: Progress): CallProgress {
  return {
    progress,
    ...(total === 0 ? {} : { total }),
    ...(message === '' ? {} : { message }),
  };
}

/** A refusal for people. */
export function refusalText(reason: RefusedReason): string {
  switch (reason) {
    case RefusedReason.OTHER_JOURNAL:
      return 'the device has another journal than the one the call was meant for';
    case RefusedReason.PAST_WATERMARK:
      return 'the device has forgotten calls of that deadline';
    case RefusedReason.DIGEST_MISMATCH:
      return 'the device knows the call id with other arguments';
    case RefusedReason.DEADLINE_TOO_FAR:
      return 'the deadline is too far ahead by the clock of the device';
    case RefusedReason.MALFORMED:
      return 'the device cannot read the call: are host and bridge of one release?';
    default:
      return 'the device refused the call';
  }
}
