import { FrameKind } from '@zerolatency/proto/frame';

/**
 * One message on a link or a device socket, decoded. `callId` and `payload`
 * are views into the bytes it came from.
 */
export interface Frame {
  readonly kind: number;
  readonly flags: number;
  /** Handle of the device on a link; 0 on a device socket. */
  readonly device: number;
  /** 16 bytes; all zero where the frame belongs to no call. */
  readonly callId: Uint8Array;
  readonly offset: number;
  readonly epoch: number;
  readonly payload: Uint8Array;
}

export const CALL_ID_BYTES = 16;

/** Large enough for a chunk of result, small enough to hold a thousand of them. */
export const MAX_FRAME_BYTES = 1 << 20;

export const NO_CALL: Uint8Array = new Uint8Array(CALL_ID_BYTES);

export const NO_PAYLOAD: Uint8Array = new Uint8Array(0);

/** The printable form of a call id, 32 hexadecimal digits, which is also its key in maps. */
export function callKey(callId: Uint8Array): string {
  return callKeyAt(callId, 0);
}

/** The key of the call id that starts at `start`, without a view of its own. */
export function callKeyAt(bytes: Uint8Array, start: number): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('hex', start, start + CALL_ID_BYTES);
}

export function callIdFromKey(key: string): Uint8Array {
  return Buffer.from(key, 'hex');
}

const KNOWN_KINDS: ReadonlySet<number> = new Set(
  Object.values(FrameKind).filter((kind) => typeof kind === 'number'),
);

/**
 * A receiver ignores other kinds and counts them: a newer peer may send them.
 * 0 is known, and always out of place: a frame without a kind.
 */
export function isKnownKind(kind: number): boolean {
  return KNOWN_KINDS.has(kind);
}

/** The PROGRESS frame. */
export const PROGRESS_FEATURE = 'progress';

/**
 * What hosts name in Call and Resume, and bridges in Hello. A name stands for
 * one frame kind or one change of behaviour, and never changes its meaning.
 */
export const FEATURES: readonly string[] = [PROGRESS_FEATURE];
