import { createHash } from 'node:crypto';
import { Bucket } from '@zerolatency/service/network';
import { LRUCache } from 'lru-cache';

/** Refusals with a reason, for one access token. */
const EXPLAINED = { burst: 100, perSecond: 20 };
/** A forgotten one is only explained again. */
const MAX_TOKENS = 1000;

/** Which senders were refused so often that another reason would only cost time. */
export class Refusals {
  readonly #nowMs: () => number;
  readonly #bySender = new LRUCache<string, Bucket>({ max: MAX_TOKENS });

  constructor(nowMs = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Counts a refusal by its header. Clients with a certificate send none and are not counted. */
  count(authorization: string): void {
    if (authorization === '') return;
    const sender = digest(authorization);
    const bucket = this.#bySender.get(sender) ?? new Bucket(EXPLAINED, this.#nowMs());
    this.#bySender.set(sender, bucket);
    // Many may be under way before the first of them is counted.
    bucket.owe(this.#nowMs());
  }

  isSpent(authorization: string): boolean {
    // Hashing costs more than all the rest, and mostly nobody was refused.
    if (this.#bySender.size === 0) return false;
    return this.#bySender.get(digest(authorization))?.isEmpty(this.#nowMs()) ?? false;
  }
}

/** The token itself is a secret and stays out of long-lived memory. */
function digest(authorization: string): string {
  return createHash('sha256').update(authorization).digest('base64');
}
