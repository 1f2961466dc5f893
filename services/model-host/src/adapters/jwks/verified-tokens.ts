import { createHash } from 'node:crypto';
import type { ProvenIdentity } from '../../ports.ts';

/** Tokens that were verified before, so that a chat does not wait for a signature check again. */
export class VerifiedTokens {
  readonly #maxEntries: number;
  readonly #byDigest = new Map<string, ProvenIdentity>();

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  find(token: string, nowMs: number): ProvenIdentity | undefined {
    const key = digest(token);
    const found = this.#byDigest.get(key);
    if (found === undefined) return undefined;
    if (found.expiresAtMs > nowMs) return found;
    this.#byDigest.delete(key);
    return undefined;
  }

  remember(token: string, verified: ProvenIdentity): void {
    if (this.#byDigest.size >= this.#maxEntries) {
      // A map iterates in the order of insertion, so the first is the oldest.
      const oldest = this.#byDigest.keys().next();
      if (!oldest.done) this.#byDigest.delete(oldest.value);
    }
    this.#byDigest.set(digest(token), verified);
  }

  clear(): void {
    this.#byDigest.clear();
  }
}

// The token itself is a secret and stays out of long-lived memory.
function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
