import { ZlError } from '@zerolatency/errors';
import { RefusedReason } from '@zerolatency/proto/call';
import type { CalleeEntry } from './callee-entries.ts';
import type { CalleeCall, CalleeLimits } from './callee-ports.ts';
import type { Journal } from './journal.ts';
import { type CallMessage, sameBytes } from './messages.ts';

interface Arrival {
  /** The epoch of the frame. */
  readonly epoch: number;
  /** The epoch of the lease. */
  readonly currentEpoch: number;
  readonly known: CalleeEntry | undefined;
  /** No entry can be added. */
  readonly isFull: boolean;
  readonly latestDeadlineMs: number;
}

/** Rule 2: why a call is refused and leaves no entry; undefined when it is not. */
export function refusalOf(
  message: CallMessage | undefined,
  { epoch, currentEpoch, known, isFull, latestDeadlineMs }: Arrival,
  journal: Journal,
): RefusedReason | undefined {
  if (message === undefined) return RefusedReason.MALFORMED;
  const { call, journalId } = message;
  if (!sameBytes(journalId, journal.id)) return RefusedReason.OTHER_JOURNAL;
  if (epoch < currentEpoch) return RefusedReason.OLD_EPOCH;
  if (call.deadlineMs <= journal.watermarkMs) return RefusedReason.PAST_WATERMARK;
  if (known === undefined) {
    if (call.deadlineMs > latestDeadlineMs) return RefusedReason.DEADLINE_TOO_FAR;
    return isFull ? RefusedReason.BUSY : undefined;
  }
  return sameBytes(known.digest, call.digest) ? undefined : RefusedReason.DIGEST_MISMATCH;
}

interface Load {
  readonly nowMs: number;
  readonly running: number;
  readonly heldBytes: number;
}

/** Why a new call fails at once. Unlike a refusal, this is an outcome and is remembered. */
export function obstacleTo(
  call: CalleeCall,
  load: Load,
  limits: CalleeLimits,
): ZlError | undefined {
  const lateMs = load.nowMs - call.deadlineMs;
  if (lateMs >= 0) {
    const message = `arrived ${lateMs} ms after its deadline, by the device's clock; it did not run`;
    return new ZlError('tool.timeout', message);
  }
  const { maxRunning, maxHeldBytes } = limits;
  if (load.running >= maxRunning) {
    return new ZlError('limit.exceeded', `the device already runs ${maxRunning} calls`);
  }
  if (load.heldBytes < maxHeldBytes) return undefined;
  return new ZlError('limit.exceeded', `the device already keeps ${maxHeldBytes} bytes of results`);
}

/** Why a result cannot be kept; undefined when it can. */
export function excessOf(
  call: CalleeCall,
  sizes: { readonly resultBytes: number; readonly heldBytes: number },
  limits: CalleeLimits,
): ZlError | undefined {
  const maxBytes = Math.min(call.maxBytes || limits.maxResultBytes, limits.maxResultBytes);
  if (sizes.resultBytes > maxBytes) {
    return new ZlError(
      'tool.result_too_large',
      `the result exceeds the limit of ${maxBytes} bytes`,
    );
  }
  if (sizes.heldBytes <= limits.maxHeldBytes) return undefined;
  const message = `the device already keeps ${limits.maxHeldBytes} bytes of results`;
  return new ZlError('limit.exceeded', message);
}
