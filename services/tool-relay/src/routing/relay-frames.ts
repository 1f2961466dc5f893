import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  callIdFromKey,
  callKeyOf,
  decodeFrame,
  encodeFrame,
  epochOf,
  FrameKind,
  isCanonical,
  NO_CALL,
  offsetOf,
  WITNESS_FEATURE,
} from '@zerolatency/frame';
import {
  CatalogSchema,
  ChallengeSchema,
  CredentialSchema,
  DrainSchema,
  HostSchema,
  RedirectSchema,
  WelcomeSchema,
} from '@zerolatency/proto/bridge';
import { RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import { OpenedSchema, RouteLostReason, RouteLostSchema } from '@zerolatency/proto/link';

/** Why a host lost its route to a device. */
export type LostReason =
  | 'not_here'
  | 'disconnected'
  | 'slow'
  | 'superseded'
  | 'old_epoch'
  | 'limit'
  | 'draining'
  | 'revoked';

/**
 * Returns the frame in canonical form; undefined when it is not a frame, or when
 * the peer behind us would refuse it: that must end the sender's socket only.
 */
export function canonicalFrame(bytes: Uint8Array, maxFrameBytes: number): Uint8Array | undefined {
  if (isCanonical(bytes)) return epochOf(bytes) < 0 || offsetOf(bytes) < 0 ? undefined : bytes;
  const { frame } = decodeFrame(bytes, maxFrameBytes);
  if (frame === undefined) return undefined;
  const encoded = encodeFrame(frame);
  // The canonical form writes fields that the sender left out, so it may be longer.
  return encoded.length > maxFrameBytes ? undefined : encoded;
}

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
  readonly unixMs: number;
  /** What the relay speaks to devices. */
  readonly features: string[];
}

export function welcomeFrame({ epoch, unixMs, ...limits }: WelcomeFields): Uint8Array {
  const message = create(WelcomeSchema, {
    epoch: BigInt(epoch),
    unixMs: BigInt(unixMs),
    ...limits,
  });
  return control(FrameKind.WELCOME, toBinary(WelcomeSchema, message));
}

export function credentialFrame(
  answer: { readonly credential: string } | { readonly errorId: string },
): Uint8Array {
  const message = create(CredentialSchema, answer);
  return control(FrameKind.CREDENTIAL, toBinary(CredentialSchema, message));
}

export function drainFrame(closeAfterMs: number): Uint8Array {
  return control(FrameKind.DRAIN, toBinary(DrainSchema, create(DrainSchema, { closeAfterMs })));
}

export function redirectFrame(url: string, withinMs: number): Uint8Array {
  const message = create(RedirectSchema, { url, withinMs });
  return control(FrameKind.REDIRECT, toBinary(RedirectSchema, message));
}

export function hostFrame(number: number, name: string): Uint8Array {
  return control(FrameKind.HOST, toBinary(HostSchema, create(HostSchema, { number, name })));
}

export interface OpenedFields {
  readonly epoch: number;
  readonly journalId: Uint8Array;
  readonly credential: string;
  readonly catalog: Uint8Array;
  readonly deviceFeatures: readonly string[];
}

export function openedFrame(handle: number, fields: OpenedFields): Uint8Array {
  const { epoch, journalId, credential, deviceFeatures } = fields;
  const message = create(OpenedSchema, {
    epoch: BigInt(epoch),
    journalId,
    credential,
    relayFeatures: [WITNESS_FEATURE],
    deviceFeatures: [...deviceFeatures],
    catalog: fromBinary(CatalogSchema, fields.catalog),
  });
  return control(FrameKind.OPENED, toBinary(OpenedSchema, message), handle);
}

const LOST_REASONS: Readonly<Record<LostReason, RouteLostReason>> = {
  not_here: RouteLostReason.NOT_HERE,
  disconnected: RouteLostReason.DISCONNECTED,
  slow: RouteLostReason.SLOW,
  superseded: RouteLostReason.SUPERSEDED,
  old_epoch: RouteLostReason.OLD_EPOCH,
  limit: RouteLostReason.LIMIT,
  draining: RouteLostReason.DRAINING,
  revoked: RouteLostReason.REVOKED,
};

export function routeLostFrame(handle: number, reason: LostReason): Uint8Array {
  const message = create(RouteLostSchema, { reason: LOST_REASONS[reason] });
  return control(FrameKind.ROUTE_LOST, toBinary(RouteLostSchema, message), handle);
}

/** Refuses one call, as a busy device would. The host retries later. */
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
