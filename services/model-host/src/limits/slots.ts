import type { Identity } from '@zerolatency/identity';
import { Refusal } from './refusal.ts';

export interface SlotLimits {
  readonly Pod: number;
  readonly Tenant: number;
  readonly User: number;
}

export interface SlotsOptions {
  /** Taken beyond the limit of the pod by those that wait. */
  readonly queued?: number;
  readonly nowMs?: () => number;
}

type Owner = Pick<Identity, 'tenant' | 'user'>;
type Scope = keyof SlotLimits;

/** Until slots were given back, and the weight of each since. */
const FIRST_HELD_MS = 1000;
const HELD_WEIGHT = 1 / 16;

/** Bounds the turns or streams that are open at once: in this pod, per tenant and per user. */
export class Slots {
  readonly #limits: SlotLimits;
  readonly #queued: number;
  readonly #nowMs: () => number;
  readonly #refusals: Readonly<Record<Scope, Refusal>>;
  readonly #perTenant = new Map<string, number>();
  readonly #perUser = new Map<string, number>();
  #taken = 0;
  #heldMs = FIRST_HELD_MS;

  constructor(what: 'turns' | 'streams', limits: SlotLimits, options: SlotsOptions = {}) {
    this.#limits = limits;
    this.#queued = options.queued ?? 0;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    const refusal = (scope: Scope, more = '') => {
      const open = `${limits[scope]} ${what} are open${more && ` and ${this.#queued} wait`}`;
      return new Refusal(`${open}, limits.${what}Per${scope} is ${limits[scope]}${more}`);
    };
    const more = this.#queued > 0 ? ` and limits.queue.${what} is ${this.#queued}` : '';
    this.#refusals = {
      Pod: refusal('Pod', more),
      Tenant: refusal('Tenant'),
      User: refusal('User'),
    };
  }

  get taken(): number {
    return this.#taken;
  }

  /** Until one of so many slots is given back, on average. */
  freeAfterMs(slots: number): number {
    return this.#heldMs / slots;
  }

  /** @throws ZlError limit.exceeded where no slot is free. */
  assertFree({ tenant, user }: Owner): void {
    if (this.#taken >= this.#limits.Pod + this.#queued) throw this.#refuse('Pod');
    const perTenant = this.#perTenant.get(tenant) ?? 0;
    if (perTenant >= this.#limits.Tenant) throw this.#refuse('Tenant');
    const perUser = this.#perUser.get(userKeyOf({ tenant, user })) ?? 0;
    if (perUser >= this.#limits.User) throw this.#refuse('User');
  }

  /** @returns what gives the slot back; calling it again does nothing. */
  take({ tenant, user }: Owner): () => void {
    this.assertFree({ tenant, user });
    const userKey = userKeyOf({ tenant, user });
    const takenMs = this.#nowMs();
    this.#taken += 1;
    add(this.#perTenant, tenant, 1);
    add(this.#perUser, userKey, 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#heldMs += (this.#nowMs() - takenMs - this.#heldMs) * HELD_WEIGHT;
      this.#taken -= 1;
      add(this.#perTenant, tenant, -1);
      add(this.#perUser, userKey, -1);
    };
  }

  #refuse(scope: Scope): Error {
    return this.#refusals[scope].after(this.freeAfterMs(this.#limits[scope]));
  }
}

/** JSON keeps ("a", "b:c") and ("a:b", "c") apart. */
function userKeyOf({ tenant, user }: Owner): string {
  return JSON.stringify([tenant, user]);
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
