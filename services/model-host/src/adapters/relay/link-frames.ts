import { fromBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type Frame, type FrameKind, NO_CALL } from '@zerolatency/frame';
import { RouteLostReason, RouteLostSchema } from '@zerolatency/proto/link';

/** A frame about a device as a whole. */
export function deviceFrame(kind: FrameKind, device: number, payload: Uint8Array): Frame {
  return { kind, flags: 0, device, callId: NO_CALL, offset: 0, epoch: 0, payload };
}

const REASONS: Readonly<Record<RouteLostReason, string>> = {
  [RouteLostReason.UNSPECIFIED]: 'the relay does not say why',
  [RouteLostReason.NOT_HERE]: 'it holds no connection there',
  [RouteLostReason.DISCONNECTED]: 'its connection closed',
  [RouteLostReason.SLOW]: 'it reads too slowly',
  [RouteLostReason.SUPERSEDED]: 'it connected elsewhere',
  [RouteLostReason.OLD_EPOCH]: 'its lease is over',
  [RouteLostReason.LIMIT]: 'this host holds as many devices there as it may',
  [RouteLostReason.DRAINING]: 'the relay is shutting down',
};

/** Why a device cannot be reached through the relay that said so. */
export function routeLostError(payload: Uint8Array, deviceId: string): ZlError {
  const reason = decodeReason(payload);
  const id = reason === RouteLostReason.LIMIT ? 'limit.exceeded' : 'device.offline';
  return new ZlError(id, `${deviceId}: ${REASONS[reason] ?? REASONS[RouteLostReason.UNSPECIFIED]}`);
}

function decodeReason(payload: Uint8Array): RouteLostReason {
  try {
    return fromBinary(RouteLostSchema, payload).reason;
  } catch {
    // The route is lost whatever the payload says.
    return RouteLostReason.UNSPECIFIED;
  }
}
