import { LRUCache } from 'lru-cache';
import type { Rule } from './rules.ts';

/** An amount of one dimension, for one owner. */
export interface Charge {
  /** Of the tenant or the user. */
  readonly ownerKey: string;
  readonly rule: Rule;
  readonly amount: number;
}

export interface Refused {
  readonly charge: Charge;
  /** Until it would be admitted, if nothing else is. */
  readonly waitMs: number;
}

/** What an owner was granted here and Redis does not know, in time as GCRA counts it. */
export interface Owed {
  readonly ownerKey: string;
  readonly rule: Rule;
  readonly ms: number;
}

/** A user's limits begin anew when so many others came after; the tenant's still hold. */
const MAX_OWNERS = 20_000;

interface Level {
  readonly rule: Rule;
  /** When the owner has nothing left to pay off: the theoretical arrival time of GCRA. */
  tatMs: number;
  /** The same of what was granted here alone. */
  owedTatMs: number;
}

/**
 * The limits as one pod knows them. It follows what Redis admits here, so that a pod that loses
 * Redis does not grant it again.
 */
export class LocalLevels {
  readonly #pods: number;
  readonly #byOwner = {
    tenant: new LRUCache<string, Map<string, Level>>({ max: MAX_OWNERS }),
    user: new LRUCache<string, Map<string, Level>>({ max: MAX_OWNERS }),
  };
  #hasOwed = false;

  /** Each pod grants its share of every limit. */
  constructor(pods: number) {
    this.#pods = pods;
  }

  /** All or nothing. An amount above this pod's share of the burst is granted when nothing else was. */
  take(charges: readonly Charge[], nowMs: number): Refused | undefined {
    let worst: Refused | undefined;
    for (const charge of charges) {
      const { toleranceMs } = charge.rule;
      const level = this.#levelOf(charge);
      const needMs = Math.min(this.#costMs(charge), toleranceMs);
      const waitMs = Math.max(level.tatMs, nowMs) + needMs - nowMs - toleranceMs;
      if (waitMs > (worst?.waitMs ?? EPSILON_MS)) worst = { charge, waitMs };
    }
    if (worst !== undefined) return worst;
    for (const charge of charges) this.#add(charge, nowMs, true);
    return undefined;
  }

  /** What was granted elsewhere, or is corrected: negative amounts give back. */
  add(charges: readonly Charge[], nowMs: number, { isOwed }: { readonly isOwed: boolean }): void {
    for (const charge of charges) this.#add(charge, nowMs, isOwed);
  }

  /** Takes all that Redis does not know yet. */
  takeOwed(nowMs: number): Owed[] {
    if (!this.#hasOwed) return [];
    this.#hasOwed = false;
    const owed: Owed[] = [];
    for (const owners of Object.values(this.#byOwner)) {
      for (const [ownerKey, levels] of owners.entries()) {
        for (const level of levels.values()) {
          const ms = (level.owedTatMs - nowMs) / this.#pods;
          level.owedTatMs = 0;
          if (ms > 0) owed.push({ ownerKey, rule: level.rule, ms });
        }
      }
    }
    return owed;
  }

  /** For what could not be told to Redis after all. */
  owe({ ownerKey, rule, ms }: Owed, nowMs: number): void {
    const level = this.#levelOf({ ownerKey, rule });
    level.owedTatMs = Math.max(level.owedTatMs, nowMs) + ms * this.#pods;
    this.#hasOwed = true;
  }

  #add(charge: Charge, nowMs: number, isOwed: boolean): void {
    const level = this.#levelOf(charge);
    const mostMs = nowMs + 2 * charge.rule.toleranceMs;
    const addTo = (tatMs: number) =>
      Math.min(Math.max(tatMs, nowMs) + this.#costMs(charge), mostMs);
    level.tatMs = addTo(level.tatMs);
    if (!isOwed) return;
    level.owedTatMs = addTo(level.owedTatMs);
    this.#hasOwed = true;
  }

  #costMs({ rule, amount }: Charge): number {
    return amount * rule.intervalMs * this.#pods;
  }

  #levelOf({ ownerKey, rule }: Pick<Charge, 'ownerKey' | 'rule'>): Level {
    const owners = this.#byOwner[rule.kind];
    let levels = owners.get(ownerKey);
    if (levels === undefined) {
      levels = new Map();
      owners.set(ownerKey, levels);
    }
    let level = levels.get(rule.dimension);
    if (level === undefined) {
      level = { rule, tatMs: 0, owedTatMs: 0 };
      levels.set(rule.dimension, level);
    }
    return level;
  }
}

/** Of rounding. */
const EPSILON_MS = 1e-6;
