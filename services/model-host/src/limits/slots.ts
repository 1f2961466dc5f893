import { ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';

export interface SlotLimits {
  readonly Pod: number;
  readonly Tenant: number;
  readonly User: number;
}

type Owner = Pick<Identity, 'tenant' | 'user'>;
type Scope = keyof SlotLimits;

/** Bounds the turns or streams that are open at once: in this pod, per tenant and per user. */
export class Slots {
  readonly #limits: SlotLimits;
  /** Made once, because refusals come in floods. */
  readonly #refusals: Readonly<Record<Scope, ZlError>>;
  readonly #perTenant = new Map<string, number>();
  readonly #perUser = new Map<string, number>();
  #taken = 0;

  constructor(what: 'turns' | 'streams', limits: SlotLimits) {
    this.#limits = limits;
    const refusal = (scope: Scope) => {
      const open = `${limits[scope]} ${what} are open, limits.${what}Per${scope}`;
      return new ZlError('limit.exceeded', `${open} is ${limits[scope]}`);
    };
    this.#refusals = { Pod: refusal('Pod'), Tenant: refusal('Tenant'), User: refusal('User') };
  }

  get taken(): number {
    return this.#taken;
  }

  /** @throws ZlError limit.exceeded where no slot is free. */
  assertFree({ tenant, user }: Owner): void {
    this.#check(this.#taken, 'Pod');
    this.#check(this.#perTenant.get(tenant) ?? 0, 'Tenant');
    this.#check(this.#perUser.get(userKeyOf({ tenant, user })) ?? 0, 'User');
  }

  /** @returns what gives the slot back; calling it again does nothing. */
  take({ tenant, user }: Owner): () => void {
    this.assertFree({ tenant, user });
    const userKey = userKeyOf({ tenant, user });
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

  #check(taken: number, scope: Scope): void {
    if (taken >= this.#limits[scope]) throw this.#refusals[scope];
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
