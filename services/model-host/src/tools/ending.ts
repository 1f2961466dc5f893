import { ZlError } from '@zerolatency/errors';
import type { Outcome, Receipt } from '@zerolatency/receipts';
import { maskText, type OnMasked } from '@zerolatency/redaction';
import type { Digest, Envelope } from '@zerolatency/signing';

/** What a device said of a call, its signature checked. */
export interface DeviceWord {
  readonly envelope: Envelope;
  readonly receipt: Receipt;
}

/** How a call ended, before it is recorded. */
export interface Ending {
  readonly outcome: Outcome;
  /** Set unless done. */
  readonly error?: ZlError;
  /** Empty unless done. */
  readonly resultJson: string;
  readonly resultDigest?: Digest;
  readonly device?: DeviceWord;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}

const NOTHING_REMOTE = { resultJson: '', remoteUs: 0, deviceUs: 0, serverUs: 0 };

/** An ending without a result. What the message quotes came from elsewhere and may hold a secret. */
export function endedAs(
  outcome: Exclude<Outcome, 'done'>,
  error: ZlError,
  onMasked?: OnMasked,
): Ending {
  return { ...NOTHING_REMOTE, outcome, error: masked(error, onMasked) };
}

function masked(error: ZlError, onMasked?: OnMasked): ZlError {
  const { text } = maskText(error.message, { onMasked });
  return text === error.message ? error : new ZlError(error.id, text, { cause: error });
}
