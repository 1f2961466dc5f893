import { ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';

export interface SlotLimits {
  readonly Pod: number;
  readonly Tenant: number;
  readonly User: number;
}

/** Bounds the turns or streams that are open at once: in this pod, per tenant and per user. */
export class Slots {
  readonly #what: 'turns' | 'streams';
  readonly #limits: SlotLimits;
  readonly #perTenant = new Map<string, number>();
  readonly #perUser = new Map<string, number>();
  #taken = 0;

  constructor(what: 'turns' | 'streams', limits: SlotLimits) {
    this.#what = what;
    this.#limits = limits;
  }

  get taken(): number {
    return this.#taken;
  }

  /** @returns what gives the slot back; calling it again does nothing. */
  take({ tenant, user }: Pick<Identity, 'tenant' | 'user'>): () => void {
    // JSON keeps ("a", "b:c") and ("a:b", "c") apart.
    const userKey = JSON.stringify([tenant, user]);
    this.#check(this.#taken, 'Pod');
    this.#check(this.#perTenant.get(tenant) ?? 0, 'Tenant');
    this.#check(this.#perUser.get(userKey) ?? 0, 'User');
    this.#taken += 1;
    add(this.#perTenant, tenant, 1);
    add(this.#perUser, userKey, 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#taken -= 1;
      add(this.#perTenant, tenant, -1);
      add(this.#perUser, userKey, -1);
    };
  }

  #check(taken: number, scope: keyof SlotLimits): void {
    if (taken < this.#limits[scope]) return;
    const limit = `limits.${this.#what}Per${scope} is ${this.#limits[scope]}`;
    throw new ZlError('limit.exceeded', `${taken} ${this.#what} are open, ${limit}`);
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
