import { createHash } from 'node:crypto';
import type { ErrorId } from '@zerolatency/errors';
import { type CallerOutcome, NO_BYTES, statedHere } from './call.ts';
import { sameBytes } from './messages.ts';

/** Small enough that frames of other calls get in between. */
const CHUNK_BYTES = 64 * 1024;

/** The callee's end of a result's byte stream: kept bytes, credit, sent bytes. */
export class ResultOutbox {
  result: Uint8Array = NO_BYTES;
  #sent = 0;
  #credit = 0;

  /** Offset of the next byte to go. */
  get sent(): number {
    return this.#sent;
  }

  /** The next chunk that credit allows, counted as sent; undefined when there is none. */
  next(): { readonly start: number; readonly bytes: Uint8Array } | undefined {
    const start = this.#sent;
    const end = Math.min(this.#credit, this.result.length, start + CHUNK_BYTES);
    if (start >= end) return undefined;
    this.#sent = end;
    return { start, bytes: this.result.subarray(start, end) };
  }

  /** CREDIT and a repeated CALL only add: they may overtake one another. */
  allow(credit: number): void {
    this.#credit = Math.max(this.#credit, credit);
  }

  /** A RESUME states what its caller takes: less than before after a restart of the host. */
  limitTo(credit: number): void {
    this.#credit = credit;
  }

  rewind(offset: number): void {
    this.#sent = offset;
  }

  free(): void {
    this.result = NO_BYTES;
  }
}

interface InboxBounds {
  readonly windowBytes: number;
  readonly maxBytes: number;
}

/** The caller's end of a result's byte stream: order, bounds, credit and digest. */
export class ResultInbox {
  readonly #bounds: InboxBounds;
  readonly #hash = createHash('sha256');
  #received = 0;
  #consumed = 0;
  #granted: number;

  constructor(bounds: InboxBounds) {
    this.#bounds = bounds;
    this.#granted = Math.min(bounds.windowBytes, bounds.maxBytes);
  }

  get received(): number {
    return this.#received;
  }

  /** The device may send bytes up to here. */
  get granted(): number {
    return this.#granted;
  }

  /** The part of the bytes that is next and was not seen before, or undefined. */
  accept(offset: number, bytes: Uint8Array): Uint8Array | undefined {
    const end = Math.min(offset + bytes.length, this.#granted);
    if (offset > this.#received || end <= this.#received) return undefined;
    const fresh = bytes.subarray(this.#received - offset, end - offset);
    this.#hash.update(fresh);
    this.#received = end;
    return fresh;
  }

  /** Returns true when the new credit is worth a frame. */
  consume(bytes: number): boolean {
    const { windowBytes, maxBytes } = this.#bounds;
    this.#consumed = Math.min(this.#consumed + bytes, this.#received);
    const grant = Math.min(this.#consumed + windowBytes, maxBytes);
    const worthwhile = grant - this.#granted >= windowBytes / 2 || grant === maxBytes;
    if (grant <= this.#granted || !worthwhile) return false;
    this.#granted = grant;
    return true;
  }

  /** Returns how a call that the device states as done ends; undefined while bytes are missing. */
  judge(stated: CallerOutcome): CallerOutcome | undefined {
    const { maxBytes } = this.#bounds;
    if (stated.resultBytes > maxBytes) {
      return unusable(stated, 'tool.result_too_large', `the result exceeds ${maxBytes} bytes`);
    }
    if (this.#received < stated.resultBytes) return undefined;
    const isWhole =
      this.#received === stated.resultBytes &&
      sameBytes(this.#hash.copy().digest(), stated.resultDigest);
    if (isWhole) return stated;
    return unusable(stated, 'tool.result_invalid', 'the result does not match its digest');
  }
}

/** The call ran, but its result cannot be used. */
function unusable({ receipt }: CallerOutcome, id: ErrorId, message: string): CallerOutcome {
  return { ...statedHere('failed', id, message), receipt };
}
