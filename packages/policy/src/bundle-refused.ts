import { ZlError } from '@zerolatency/errors';

/** In the order in which a bundle is looked at. */
export const refusalReasons = [
  /** The bundle, a key or the floor cannot be read or written. */
  'unreadable',
  /** No good signature of a known key. */
  'signature',
  /** No bundle, be it signed or not. */
  'malformed',
  /** Issued in the future. */
  'not_yet',
  /** Past its grace. */
  'expired',
  /** Older than, or other than, what was accepted before. */
  'rolled_back',
] as const;

export type RefusalReason = (typeof refusalReasons)[number];

/** A bundle that was not taken: in words for people, and in a reason for counters. */
export class BundleRefused extends ZlError {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string, options?: ErrorOptions) {
    super('policy.invalid', message, options);
    this.reason = reason;
  }
}
