import { fromBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type Opened, OpenedSchema } from '@zerolatency/proto/link';
import type { Verifier } from '@zerolatency/signing';
import type { DeviceSession } from '../../tools/ports.ts';

export function decodeOpened(payload: Uint8Array): Opened | { error: ZlError } {
  try {
    return fromBinary(OpenedSchema, payload);
  } catch (cause) {
    return { error: new ZlError('frame.malformed', 'OPENED cannot be read', { cause }) };
  }
}

/** The public key is the one in the verified credential of the same message. */
export function sessionOf(opened: Opened, device: number, verifier: Verifier): DeviceSession {
  return {
    device,
    epoch: Number(opened.epoch),
    journalId: opened.journalId,
    servers: opened.catalog?.servers ?? [],
    credential: opened.credential,
    verifier,
  };
}
