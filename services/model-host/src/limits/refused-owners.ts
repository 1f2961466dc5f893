import { LRUCache } from 'lru-cache';
import type { Refusal } from './refusal.ts';
import { type Dimension, type Owner, type OwnerKind, ownerKeyOf } from './rules.ts';

export type LimitName = Dimension | 'turns';

export interface KnownRefusal {
  readonly kind: OwnerKind;
  readonly limit: LimitName;
  readonly refusal: Refusal;
  readonly untilMs: number;
}

/** A forgotten one is decided anew. */
const MAX_REFUSALS = 20_000;

/** Owners that nothing would be granted to before some time, so that floods of them cost no decision. */
export class RefusedOwners {
  readonly #refusals = new LRUCache<string, KnownRefusal>({ max: MAX_REFUSALS });

  add(owner: Owner, known: KnownRefusal): void {
    this.#refusals.set(keyOf(owner, known.kind, known.limit), known);
  }

  find(owner: Owner, limits: readonly LimitName[], nowMs: number): KnownRefusal | undefined {
    // Usually there are none.
    if (this.#refusals.size === 0) return undefined;
    for (const kind of ['tenant', 'user'] as const) {
      for (const limit of limits) {
        const known = this.#refusals.get(keyOf(owner, kind, limit));
        if (known !== undefined && known.untilMs > nowMs) return known;
      }
    }
    return undefined;
  }

  clear(): void {
    this.#refusals.clear();
  }
}

function keyOf(owner: Owner, kind: OwnerKind, limit: LimitName): string {
  return `${limit} ${ownerKeyOf(kind, owner)}`;
}
