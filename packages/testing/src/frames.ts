import type { EventEmitter } from 'node:events';
import { decodeFrame, encodeFrame, type Frame, NO_CALL, NO_PAYLOAD } from '@zerolatency/frame';

export type FrameFields = Partial<Frame> & Pick<Frame, 'kind'>;

/** An encoded frame; every field that is not given is empty. */
export function frameBytes(fields: FrameFields): Uint8Array {
  return encodeFrame({
    flags: 0,
    device: 0,
    callId: NO_CALL,
    offset: 0,
    epoch: 0,
    payload: NO_PAYLOAD,
    ...fields,
  });
}

/** Decodes every message of a socket; a malformed one fails the test. */
export function onFrames(socket: EventEmitter, handle: (frame: Frame) => void): void {
  socket.on('message', (data: Buffer) => {
    // A copy, because the socket may reuse its buffer.
    const { frame, error } = decodeFrame(Uint8Array.from(data));
    if (frame === undefined) throw error;
    handle(frame);
  });
}
