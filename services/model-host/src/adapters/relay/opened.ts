import { fromBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type Opened, OpenedSchema } from '@zerolatency/proto/link';
import type { Verifier } from '@zerolatency/signing';
import type { DeviceConnection } from '../../executors/device/routes.ts';

export function decodeOpened(payload: Uint8Array): Opened | { error: ZlError } {
  try {
    return fromBinary(OpenedSchema, payload);
  } catch (cause) {
    return { error: new ZlError('frame.malformed', 'OPENED cannot be read', { cause }) };
  }
}

/** The public key is the one in the verified credential of the same message. */
export function connectionOf(opened: Opened, device: number, verifier: Verifier): DeviceConnection {
  return {
    device,
    epoch: Number(opened.epoch),
    journalId: opened.journalId,
    servers: opened.catalog?.servers ?? [],
    credential: opened.credential,
    verifier,
  };
}
