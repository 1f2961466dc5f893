import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { callIdFromKey, callKeyOf, encodeFrame, FrameKind, NO_CALL } from '@zerolatency/frame';
import {
  CatalogSchema,
  ChallengeSchema,
  DrainSchema,
  WelcomeSchema,
} from '@zerolatency/proto/bridge';
import { RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import {
  OpenedSchema,
  OpenSchema,
  RouteLostReason,
  RouteLostSchema,
} from '@zerolatency/proto/link';
import type { DeviceAddress, LostReason } from '../ports.ts';

/** The frames that a relay itself says, and the one it is asked with. */

function control(kind: FrameKind, payload: Uint8Array, device = 0): Uint8Array {
  return encodeFrame({ kind, flags: 0, device, callId: NO_CALL, offset: 0, epoch: 0, payload });
}

export function challengeFrame(nonce: Uint8Array, relayId: string): Uint8Array {
  const message = create(ChallengeSchema, { nonce, relayId });
  return control(FrameKind.CHALLENGE, toBinary(ChallengeSchema, message));
}

export interface WelcomeFields {
  readonly epoch: number;
  readonly heartbeatMs: number;
  readonly maxFrameBytes: number;
}

export function welcomeFrame({ epoch, heartbeatMs, maxFrameBytes }: WelcomeFields): Uint8Array {
  const message = create(WelcomeSchema, { epoch: BigInt(epoch), heartbeatMs, maxFrameBytes });
  return control(FrameKind.WELCOME, toBinary(WelcomeSchema, message));
}

export function drainFrame(closeAfterMs: number): Uint8Array {
  return control(FrameKind.DRAIN, toBinary(DrainSchema, create(DrainSchema, { closeAfterMs })));
}

export interface OpenedFields {
  readonly epoch: number;
  readonly journalId: Uint8Array;
  readonly credential: string;
  readonly catalog: Uint8Array;
}

export function openedFrame(handle: number, fields: OpenedFields): Uint8Array {
  const { epoch, journalId, credential } = fields;
  const message = create(OpenedSchema, {
    epoch: BigInt(epoch),
    journalId,
    credential,
    catalog: fromBinary(CatalogSchema, fields.catalog),
  });
  return control(FrameKind.OPENED, toBinary(OpenedSchema, message), handle);
}

const reasons: Readonly<Record<LostReason, RouteLostReason>> = {
  not_here: RouteLostReason.NOT_HERE,
  disconnected: RouteLostReason.DISCONNECTED,
  slow: RouteLostReason.SLOW,
  superseded: RouteLostReason.SUPERSEDED,
  old_epoch: RouteLostReason.OLD_EPOCH,
  limit: RouteLostReason.LIMIT,
  draining: RouteLostReason.DRAINING,
};

export function routeLostFrame(handle: number, reason: LostReason): Uint8Array {
  const message = create(RouteLostSchema, { reason: reasons[reason] });
  return control(FrameKind.ROUTE_LOST, toBinary(RouteLostSchema, message), handle);
}

/** Refuses one call, as a device that is full would; the host asks again later. */
export function busyFrame(
  device: number,
  asked: Uint8Array,
  { epoch, journalId }: Pick<OpenedFields, 'epoch' | 'journalId'>,
): Uint8Array {
  const message = create(RefusedSchema, { reason: RefusedReason.BUSY, journalId });
  const payload = toBinary(RefusedSchema, message);
  const callId = callIdFromKey(callKeyOf(asked));
  return encodeFrame({
    kind: FrameKind.REFUSED,
    flags: 0,
    device,
    callId,
    offset: 0,
    epoch,
    payload,
  });
}

/** Undefined for what is no Open. */
export function readOpen(payload: Uint8Array): DeviceAddress | undefined {
  try {
    const { tenant, deviceId } = fromBinary(OpenSchema, payload);
    return { tenant, deviceId };
  } catch {
    // The generated codec throws on what a peer sent; here that is an answer.
    return undefined;
  }
}
