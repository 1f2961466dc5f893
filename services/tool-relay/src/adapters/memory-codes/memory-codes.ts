import type { Clock } from '../../ports.ts';
import {
  CODE_LIMITS,
  type CodeAdded,
  type CodeStore,
  type Invitation,
} from '../../registrar/code-store.ts';

/** For a single registrar. A restart forgets the codes, which live for minutes. */
export class MemoryCodes implements CodeStore {
  readonly #clock: Pick<Clock, 'unixMs'>;
  readonly #codes = new Map<string, Invitation>();
  readonly #byTenant = new Map<string, number>();

  constructor(clock: Pick<Clock, 'unixMs'>) {
    this.#clock = clock;
  }

  async add(codeHash: string, invitation: Invitation): Promise<CodeAdded> {
    this.#delete(codeHash);
    if (this.#fullFor(invitation) !== undefined) this.#forgetExpired();
    const full = this.#fullFor(invitation);
    if (full !== undefined) return full;
    this.#codes.set(codeHash, invitation);
    this.#count(invitation, 1);
    return 'added';
  }

  async has(codeHash: string): Promise<boolean> {
    return this.#open(codeHash) !== undefined;
  }

  async take(codeHash: string): Promise<Invitation | undefined> {
    const invitation = this.#open(codeHash);
    this.#delete(codeHash);
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
      if (expiresAtMs <= nowMs) this.#delete(codeHash);
    }
  }

  #fullFor({ tenant }: Invitation): CodeAdded | undefined {
    if (this.#codes.size >= CODE_LIMITS.all) return 'store is full';
    const isFull = (this.#byTenant.get(tenant) ?? 0) >= CODE_LIMITS.tenant;
    return isFull ? 'tenant is full' : undefined;
  }

  #delete(codeHash: string): void {
    const invitation = this.#codes.get(codeHash);
    if (invitation === undefined) return;
    this.#codes.delete(codeHash);
    this.#count(invitation, -1);
  }

  #count({ tenant }: Invitation, change: 1 | -1): void {
    const count = (this.#byTenant.get(tenant) ?? 0) + change;
    if (count === 0) this.#byTenant.delete(tenant);
    else this.#byTenant.set(tenant, count);
  }
}
