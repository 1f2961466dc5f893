import { ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';

export interface TurnSlotLimits {
  readonly turnsPerPod: number;
  readonly turnsPerTenant: number;
  readonly turnsPerUser: number;
}

/** Bounds the turns that run at once: in this pod, per tenant and per user. */
export class TurnSlots {
  readonly #limits: TurnSlotLimits;
  readonly #perTenant = new Map<string, number>();
  readonly #perUser = new Map<string, number>();
  #taken = 0;

  constructor(limits: TurnSlotLimits) {
    this.#limits = limits;
  }

  get taken(): number {
    return this.#taken;
  }

  /** @returns what gives the slot back; calling it again does nothing. */
  take({ tenant, user }: Pick<Identity, 'tenant' | 'user'>): () => void {
    // JSON keeps ("a", "b:c") and ("a:b", "c") apart.
    const userKey = JSON.stringify([tenant, user]);
    this.#check(this.#taken, 'turnsPerPod');
    this.#check(this.#perTenant.get(tenant) ?? 0, 'turnsPerTenant');
    this.#check(this.#perUser.get(userKey) ?? 0, 'turnsPerUser');
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

  #check(taken: number, limit: keyof TurnSlotLimits): void {
    if (taken < this.#limits[limit]) return;
    throw new ZlError(
      'limit.exceeded',
      `${taken} turns are running, limits.${limit} is ${this.#limits[limit]}`,
    );
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
