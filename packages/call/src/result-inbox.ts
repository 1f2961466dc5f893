import { createHash } from 'node:crypto';
import type { ErrorId } from '@zerolatency/errors';
import { type CallOutcome, statedHere } from './outcome.ts';
import { sameBytes } from './read-message.ts';

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

  /** True when the device should be told of the new credit. */
  consume(bytes: number): boolean {
    const { windowBytes, maxBytes } = this.#bounds;
    this.#consumed = Math.min(this.#consumed + bytes, this.#received);
    const grant = Math.min(this.#consumed + windowBytes, maxBytes);
    const worthwhile = grant - this.#granted >= windowBytes / 2 || grant === maxBytes;
    if (grant <= this.#granted || !worthwhile) return false;
    this.#granted = grant;
    return true;
  }

  /** How the call ends when the device states it done, as far as the bytes allow to say yet. */
  judge(stated: CallOutcome): CallOutcome | undefined {
    const { maxBytes } = this.#bounds;
    if (stated.resultBytes > maxBytes) {
      return spoilt(stated, 'tool.result_too_large', `the result is over ${maxBytes} bytes`);
    }
    if (this.#received < stated.resultBytes) return undefined;
    const isWhole =
      this.#received === stated.resultBytes &&
      sameBytes(this.#hash.copy().digest(), stated.resultDigest);
    if (isWhole) return stated;
    return spoilt(stated, 'tool.result_invalid', 'the result does not match its digest');
  }
}

/** It ran, and its result cannot be used. */
function spoilt({ receipt }: CallOutcome, id: ErrorId, message: string): CallOutcome {
  return { ...statedHere('failed', id, message), receipt };
}
