/**
 * Remembers token ids until they expire. Pass only ids of verified tokens, so
 * that a stranger cannot fill it.
 */
export class ReplayGuard {
  readonly #expiries = new Map<string, number>();
  readonly #maxEntries: number;

  constructor({ maxEntries }: { readonly maxEntries: number }) {
    this.#maxEntries = maxEntries;
  }

  /** Returns false for a known id, and when full: evicting an unexpired id would admit a replay. */
  admit(jti: string, expiresAtMs: number, nowMs: number): boolean {
    if (this.#expiries.size >= this.#maxEntries) this.#forgetExpired(nowMs);
    const known = this.#expiries.get(jti);
    if (known !== undefined && known >= nowMs) return false;
    if (this.#expiries.size >= this.#maxEntries) return false;
    this.#expiries.set(jti, expiresAtMs);
    return true;
  }

  #forgetExpired(nowMs: number): void {
    for (const [jti, expiresAtMs] of this.#expiries) {
      if (expiresAtMs < nowMs) this.#expiries.delete(jti);
    }
  }
}
