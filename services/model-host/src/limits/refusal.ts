import { ZlError } from '@zerolatency/errors';

/** Added to the wait, so that clients refused together come back apart. */
const JITTER_SHARE = 0.25;
const MIN_JITTER_MS = 500;

/**
 * Why something is refused, as an error for each wait. Encoding an error costs more than the rest
 * of a refusal, so waits are rounded up to two digits and each has one error.
 */
export class Refusal {
  readonly #message: string;
  readonly #random: () => number;
  readonly #byWaitMs = new Map<number, ZlError>();

  constructor(message: string, random = Math.random) {
    this.#message = message;
    this.#random = random;
  }

  /** Never states less than the wait. */
  after(waitMs: number): ZlError {
    const jitterMs = this.#random() * Math.max(MIN_JITTER_MS, waitMs * JITTER_SHARE);
    const retryAfterMs = twoDigits(waitMs + jitterMs);
    const known = this.#byWaitMs.get(retryAfterMs);
    if (known !== undefined) return known;
    const error = new ZlError('limit.exceeded', this.#message, { retryAfterMs });
    this.#byWaitMs.set(retryAfterMs, error);
    return error;
  }
}

function twoDigits(ms: number): number {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, ms))) - 1);
  return Math.ceil(ms / unit) * unit;
}
