import { FrameKind } from '@zerolatency/proto/frame';

/**
 * One message on a link or a device socket, decoded. `callId` and `payload`
 * are views into the bytes it came from.
 */
export interface Frame {
  readonly kind: number;
  readonly flags: number;
  /** On a link the handle of the device; on a device socket the number of the host, or 0. */
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

/** A callee that states its journal's clock in NOT_SEEN, and reads deadlines by it in CALL. */
export const JOURNAL_CLOCK_FEATURE = 'journal-clock';

/** The RENEW frame, which relays read, and CREDENTIAL, which answers it. */
export const RENEWAL_FEATURE = 'renewal';

/** The HOST frame, which only bridges read. */
export const HOSTS_FEATURE = 'hosts';

/** The REDIRECT frame, which only bridges read. */
export const REDIRECT_FEATURE = 'redirect';

/** The WITNESS frame: bridges that keep checkpoints name it, and relays that route the answer. */
export const WITNESS_FEATURE = 'witness';

/**
 * What hosts name in Call and Resume, and bridges in Hello. A name stands for
 * one frame kind or one change of behaviour, and never changes its meaning.
 */
export const FEATURES: readonly string[] = [PROGRESS_FEATURE, JOURNAL_CLOCK_FEATURE];

/**
 * Where the fields of a canonical frame are (frame.proto): each tag is one
 * byte, each fixed-width field follows its tag, integers are little-endian.
 */
export const KIND_TAG = 0;
export const FLAGS_TAG = 5;
export const DEVICE_TAG = 10;
export const CALL_ID_TAG = 15;
export const CALL_ID_START = 17;
export const OFFSET_TAG = 33;
export const EPOCH_TAG = 42;
/** Also the length of the routing head. */
export const PAYLOAD_TAG = 51;
export const LENGTH_START = 52;

const HIGH_WORD = 0x1_0000_0000;
/** From this high word on a number is not a safe integer. */
const UNSAFE_HIGH_WORD = 0x20_0000;

/**
 * Returns where the payload of a canonical frame starts, or 0 when the bytes
 * are not a canonical frame. Reads at constant offsets are safe afterwards.
 */
export function payloadStart(bytes: Uint8Array): number {
  if (
    bytes[KIND_TAG] !== 0x0d ||
    bytes[FLAGS_TAG] !== 0x15 ||
    bytes[DEVICE_TAG] !== 0x1d ||
    bytes[CALL_ID_TAG] !== 0x22 ||
    bytes[CALL_ID_TAG + 1] !== 0x10 ||
    bytes[OFFSET_TAG] !== 0x29 ||
    bytes[EPOCH_TAG] !== 0x31 ||
    bytes[PAYLOAD_TAG] !== 0x3a
  ) {
    return 0;
  }
  return exactPayload(bytes);
}

/** Accepts a length in its shortest form that ends exactly at the end. */
function exactPayload(bytes: Uint8Array): number {
  let length = 0;
  let unit = 1;
  for (let at = LENGTH_START; at < LENGTH_START + 4; at += 1) {
    const byte = byteAt(bytes, at);
    length += (byte & 0x7f) * unit;
    if (byte < 0x80) {
      const shortest = byte !== 0 || at === LENGTH_START;
      return shortest && at + 1 + length === bytes.length ? at + 1 : 0;
    }
    unit *= 0x80;
  }
  return 0;
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (byteAt(bytes, at) |
      (byteAt(bytes, at + 1) << 8) |
      (byteAt(bytes, at + 2) << 16) |
      (byteAt(bytes, at + 3) << 24)) >>>
    0
  );
}

/** -1 for a value beyond 2^53 - 1. */
export function readUint53(bytes: Uint8Array, at: number): number {
  const high = readUint32(bytes, at + 4);
  return high >= UNSAFE_HIGH_WORD ? -1 : high * HIGH_WORD + readUint32(bytes, at);
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function writeUint53(bytes: Uint8Array, at: number, value: number): void {
  writeUint32(bytes, at, value);
  writeUint32(bytes, at + 4, Math.floor(value / HIGH_WORD));
}

/** Only for offsets that payloadStart() has checked. */
function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

// A router reads and sets these fields at constant offsets, without decoding the frame.
// Only isCanonical() takes any bytes; the others need bytes it has accepted.

export function isCanonical(bytes: Uint8Array): boolean {
  return payloadStart(bytes) !== 0;
}

export function kindOf(canonical: Uint8Array): number {
  return readUint32(canonical, KIND_TAG + 1);
}

export function deviceOf(canonical: Uint8Array): number {
  return readUint32(canonical, DEVICE_TAG + 1);
}

/** -1 for an epoch beyond 2^53 - 1, which no relay issues. */
export function epochOf(canonical: Uint8Array): number {
  return readUint53(canonical, EPOCH_TAG + 1);
}

/** -1 for an offset beyond 2^53 - 1, which decodeFrame() refuses. */
export function offsetOf(canonical: Uint8Array): number {
  return readUint53(canonical, OFFSET_TAG + 1);
}

export function callKeyOf(canonical: Uint8Array): string {
  return callKeyAt(canonical, CALL_ID_START);
}

/** Writes to the given bytes, which the caller must own. */
export function setDevice(canonical: Uint8Array, device: number): void {
  writeUint32(canonical, DEVICE_TAG + 1, device);
}
