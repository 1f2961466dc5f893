/**
 * One message on a link or a device socket, decoded. `callId` and `payload`
 * are views into the bytes it came from.
 */
export interface Frame {
  readonly kind: number;
  readonly flags: number;
  /** Handle of the device on a link; 0 on a device socket. */
  readonly device: number;
  /** 16 bytes; all zero where the frame is of no call. */
  readonly callId: Uint8Array;
  readonly offset: number;
  readonly epoch: number;
  readonly payload: Uint8Array;
}

export const CALL_ID_BYTES = 16;

/** Large enough for a chunk of result, small enough to hold a thousand of them. */
export const MAX_FRAME_BYTES = 1 << 20;

/** Routing head, payload tag and the longest length that MAX_FRAME_BYTES allows. */
export const FRAME_OVERHEAD_BYTES = 55;

export const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES;

export const NO_CALL: Uint8Array = new Uint8Array(CALL_ID_BYTES);

export const NO_PAYLOAD: Uint8Array = new Uint8Array(0);
