import { CallSchema } from '@zerolatency/proto/call';
import { ARGUMENT_SALT_BYTES } from '@zerolatency/receipts';
import { PROGRESS_FEATURE } from './call-request.ts';
import type { CalleeCall } from './callee-ports.ts';
import { readMessage, sameBytes } from './read-message.ts';
import { requestDigest } from './request-digest.ts';

const DIGEST_BYTES = 32;

/** What a CALL frame carries. */
export interface CallMessage {
  readonly call: CalleeCall;
  readonly journalId: Uint8Array;
  readonly credit: number;
}

/**
 * Undefined for a payload that no caller of ours would write. `payload` must
 * outlive the call: its parts are views into it.
 */
export function readCall(callId: string, payload: Uint8Array): CallMessage | undefined {
  const message = readMessage(CallSchema, payload);
  if (message === undefined || message.digest.length !== DIGEST_BYTES) return undefined;
  const { digest, journalId, server, method, params, argumentSalt } = message;
  if (argumentSalt.length !== ARGUMENT_SALT_BYTES) return undefined;
  const deadlineMs = Number(message.deadlineUnixMs);
  if (!Number.isSafeInteger(deadlineMs) || deadlineMs === 0 || server === '' || method === '') {
    return undefined;
  }
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
  return { call, journalId, credit: Number(message.credit) };
}
