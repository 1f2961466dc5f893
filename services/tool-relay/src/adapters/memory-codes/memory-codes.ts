import type { Clock } from '../../ports.ts';
import type { CodeStore, Invitation } from '../../registrar/code-store.ts';

/** An operator who invites more devices at once needs another store, and a leaked key less room. */
const MAX_CODES = 10_000;

/** For a single registrar. A restart forgets the codes, which live for minutes. */
export class MemoryCodes implements CodeStore {
  readonly #clock: Pick<Clock, 'unixMs'>;
  readonly #codes = new Map<string, Invitation>();

  constructor(clock: Pick<Clock, 'unixMs'>) {
    this.#clock = clock;
  }

  async add(codeHash: string, invitation: Invitation): Promise<boolean> {
    if (this.#codes.size >= MAX_CODES) this.#forgetExpired();
    if (this.#codes.size >= MAX_CODES) return false;
    this.#codes.set(codeHash, invitation);
    return true;
  }

  async has(codeHash: string): Promise<boolean> {
    return this.#open(codeHash) !== undefined;
  }

  async take(codeHash: string): Promise<Invitation | undefined> {
    const invitation = this.#open(codeHash);
    this.#codes.delete(codeHash);
    return invitation;
  }

  status() {
    return { status: 'ok', detail: 'memory' } as const;
  }

  close(): void {}

  #open(codeHash: string): Invitation | undefined {
    const invitation = this.#codes.get(codeHash);
    if (invitation === undefined || this.#clock.unixMs() < invitation.expiresAtMs)
      return invitation;
    return undefined;
  }

  #forgetExpired(): void {
    const nowMs = this.#clock.unixMs();
    for (const [codeHash, { expiresAtMs }] of this.#codes) {
      if (expiresAtMs <= nowMs) this.#codes.delete(codeHash);
    }
  }
}
