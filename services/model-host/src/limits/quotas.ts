import { ZlError } from '@zerolatency/errors';
import { type Charge, LocalLevels, type Owed, type Refused } from './local-levels.ts';
import { type KnownRefusal, type LimitName, RefusedOwners } from './refused-owners.ts';
import {
  DIMENSIONS,
  type Dimension,
  type Owner,
  type OwnerKind,
  ownerKeyOf,
  type Rules,
  type TurnsRule,
} from './rules.ts';

/** A conversation with a model, or one call. */
export type TurnKind = 'model' | 'call';

/** What refuses a turn as a whole. */
const NEEDED = {
  model: ['requests', 'turns', 'inputTokens', 'outputTokens', 'usd'],
  call: ['requests', 'turns', 'toolCalls'],
} as const satisfies Record<TurnKind, readonly LimitName[]>;

const NANOS_PER_USD = 1e9;

interface Tokens {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface ModelCallQuota {
  /** What the reply may have. */
  readonly outputTokens: number;
  /** Gives back what was not used, and takes what was used beyond. */
  settle(used: Tokens & { readonly costNanoUsd: number }): void;
}

export type Amounts = Readonly<Partial<Record<Dimension, number>>>;

/** What is asked of the store in one round trip. */
export interface Asked {
  readonly owner: Owner;
  readonly turn?: OpenTurn;
  readonly charges: readonly Charge[];
}

/** A turn that counts among the open ones of its owners until it ends. */
interface OpenTurn {
  readonly id: string;
  readonly tenant?: TurnsRule | undefined;
  readonly user?: TurnsRule | undefined;
}

export type Taken =
  | { readonly isTaken: true }
  | { readonly isTaken: false; readonly refused: Refused }
  /** The owner has no turn left. */
  | { readonly isTaken: false; readonly turns: OwnerKind };

/** What the pods share. Everything rejects while it is away. */
export interface QuotaStore {
  /** All or nothing. */
  take(asked: Asked): Promise<Taken>;
  correct(charges: readonly Charge[]): Promise<void>;
  add(owed: readonly Owed[]): Promise<void>;
  /** The open turns of this pod, whose leases would expire. */
  renew(ownerKey: string, turns: readonly string[]): Promise<void>;
  release(ownerKey: string, turn: string): Promise<void>;
}

export interface QuotaMetrics {
  decided(by: 'redis' | 'pod' | 'cache', isTaken: boolean): void;
  refused(owner: OwnerKind, limit: LimitName): void;
  switched(to: 'redis' | 'pod'): void;
}

export interface QuotasOptions {
  readonly rules: Rules;
  /** Undefined for a pod that is alone. */
  readonly store?: QuotaStore | undefined;
  /** Each grants its share while the store is away. */
  readonly pods: number;
  readonly leaseMs: number;
  readonly metrics: QuotaMetrics;
  readonly log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
  };
  /** Steady. */
  readonly nowMs?: () => number;
}

/** How often a store that is away is tried. */
const RETRY_MS = 500;
/** Refused tokens may be given back by then, so these refusals are not remembered for longer. */
const MAX_REMEMBERED_MS = 1000;
/** An open turn may end at any time. */
const TURNS_REMEMBERED_MS = 250;
/** What is owed is told in rounds, so that grants during one are not lost. */
const MAX_ROUNDS = 8;
const ADDED_AT_ONCE = 1000;
/** Before any turn has ended. */
const FIRST_TURN_MS = 1000;

/** Answered where Redis is back, and in time. */
const NOTHING: Asked = { owner: { tenant: '', user: '' }, charges: [] };

/**
 *   redis <-> pod
 *
 * Decides in Redis for all pods at once; while Redis is away or late, each pod by itself grants its
 * share. A refusal is remembered until it may change, so that floods stay in the pod.
 */
export class Quotas {
  readonly #options: QuotasOptions;
  readonly #nowMs: () => number;
  readonly #levels: LocalLevels;
  readonly #refused = new RefusedOwners();
  /** The turns of this pod by their owners, where those are limited. */
  readonly #open = new Map<string, Set<string>>();
  readonly #timers: NodeJS.Timeout[] = [];
  #by: 'redis' | 'pod';
  #isReturning = false;
  #turnMs = FIRST_TURN_MS;

  constructor(options: QuotasOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#levels = new LocalLevels(options.pods);
    this.#by = options.store === undefined ? 'pod' : 'redis';
    if (options.store === undefined || options.rules.isEmpty) return;
    this.#timers.push(setInterval(() => void this.#renew(), options.leaseMs / 3).unref());
    this.#timers.push(setInterval(() => void this.#return(), RETRY_MS).unref());
  }

  /** Whether Redis decides, for all pods. */
  get isShared(): boolean {
    return this.#by === 'redis';
  }

  /** For the component report. */
  status() {
    const { rules, store, pods } = this.#options;
    if (rules.isEmpty) return { status: 'ok' as const, detail: 'tenants and users are unlimited' };
    const status = this.isShared || store === undefined ? ('ok' as const) : ('degraded' as const);
    const share = pods === 1 ? '' : `, which grants 1/${pods} of each`;
    return { status, detail: this.isShared ? 'shared by redis' : `by this pod alone${share}` };
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Throws what was refused a moment ago, at next to no cost. @throws limit.exceeded */
  assertRoom(owner: Owner, kind: TurnKind): void {
    this.#throwKnown(owner, NEEDED[kind]);
  }

  #throwKnown(owner: Owner, limits: readonly LimitName[]): void {
    const nowMs = this.#nowMs();
    const known = this.#refused.find(owner, limits, nowMs);
    if (known === undefined) return;
    this.#options.metrics.decided('cache', false);
    this.#options.metrics.refused(known.kind, known.limit);
    throw known.refusal.after(known.untilMs - nowMs);
  }

  /** Counts a turn until the function it resolves with is called. @throws limit.exceeded */
  async open(owner: Owner, turnId: string): Promise<() => void> {
    const rules = new Map(this.#rulesOf(owner));
    const turn = { id: turnId, tenant: rules.get('tenant')?.turns, user: rules.get('user')?.turns };
    const charges = this.#chargesOf(owner, { requests: 1 });
    const counted = [turn.tenant, turn.user].filter((rule) => rule !== undefined);
    if (charges.length === 0 && counted.length === 0) return () => {};
    const startedMs = this.#nowMs();
    const keys = counted.map(({ kind }) => ownerKeyOf(kind, owner));
    await this.#take({ owner, charges, ...(counted.length > 0 && { turn }) });
    for (const key of keys) this.#open.set(key, (this.#open.get(key) ?? new Set()).add(turnId));
    return () => {
      this.#turnMs += (this.#nowMs() - startedMs - this.#turnMs) / 8;
      for (const key of keys) this.#release(key, turnId);
    };
  }

  /** Resolves with what corrects the amounts. @throws limit.exceeded, request.too_large */
  async reserve(owner: Owner, amounts: Amounts): Promise<(used: Amounts) => void> {
    const charges = this.#chargesOf(owner, amounts);
    if (charges.length === 0) return () => {};
    for (const { rule, amount } of charges) {
      if (amount <= rule.burst) continue;
      const why = `${rule.setting} never grants more than ${rule.burst} at once`;
      throw new ZlError('request.too_large', `this needs ${amount} of ${rule.dimension}, ${why}`);
    }
    await this.#take({ owner, charges });
    return (used) => {
      this.#correct(
        charges.flatMap((charge) => {
          const { rule, amount } = charge;
          const more = (used[rule.dimension] ?? amount) - amount;
          return more === 0 ? [] : [{ ...charge, amount: more }];
        }),
      );
    };
  }

  /**
   * Sets aside what a model call may use: its reply is cut to what can be granted at once.
   * `costOf` is undefined for a model without a price, which no limit in USD counts.
   */
  async modelCall(
    owner: Owner,
    { inputTokens, outputTokens: wanted }: Tokens,
    costOf: (tokens: Tokens) => number | undefined,
  ): Promise<ModelCallQuota> {
    const burstUsd = this.#burstOf(owner, 'usd');
    const isPriced = burstUsd < Number.POSITIVE_INFINITY;
    const usdOf = (tokens: Tokens) => (isPriced ? (costOf(tokens) ?? 0) / NANOS_PER_USD : 0);
    let outputTokens = Math.min(wanted, Math.floor(this.#burstOf(owner, 'outputTokens')));
    const inputUsd = usdOf({ inputTokens, outputTokens: 0 });
    const outputUsd = usdOf({ inputTokens, outputTokens }) - inputUsd;
    const leftUsd = burstUsd - inputUsd;
    if (outputUsd > leftUsd && leftUsd > 0) {
      outputTokens = Math.max(1, Math.floor((outputTokens * leftUsd) / outputUsd));
    }
    const usd = usdOf({ inputTokens, outputTokens });
    const correct = await this.reserve(owner, { inputTokens, outputTokens, usd });
    return {
      outputTokens,
      settle: ({ costNanoUsd, ...used }) => {
        correct({ ...used, usd: costNanoUsd / NANOS_PER_USD });
      },
    };
  }

  /** @throws limit.exceeded */
  async toolCall(owner: Owner): Promise<void> {
    await this.reserve(owner, { toolCalls: 1 });
  }

  #burstOf(owner: Owner, dimension: Dimension): number {
    const bursts = this.#rulesOf(owner).map(([, rules]) => rules.rates[dimension]?.burst);
    return Math.min(...bursts.map((burst) => burst ?? Number.POSITIVE_INFINITY));
  }

  async #take(asked: Asked): Promise<void> {
    const { metrics } = this.#options;
    const dimensions = asked.charges.map(({ rule }) => rule.dimension);
    const asTurn = asked.turn !== undefined;
    this.#throwKnown(asked.owner, asTurn ? [...dimensions, 'turns'] : dimensions);
    const taken = await this.#decide(asked);
    metrics.decided(this.#by, taken.isTaken);
    if (!taken.isTaken) throw this.#refuse(asked, taken);
  }

  async #decide(asked: Asked): Promise<Taken> {
    const { store } = this.#options;
    if (store !== undefined && this.#by === 'redis') {
      try {
        const taken = await store.take(asked);
        if (taken.isTaken) this.#levels.add(asked.charges, this.#nowMs(), { isOwed: false });
        return taken;
      } catch (reason) {
        this.#leave(reason);
      }
    }
    return this.#decideAlone(asked);
  }

  #decideAlone({ owner, turn, charges }: Asked): Taken {
    for (const rule of [turn?.tenant, turn?.user]) {
      if (rule === undefined) continue;
      const open = this.#open.get(ownerKeyOf(rule.kind, owner))?.size ?? 0;
      const share = Math.max(1, Math.floor(rule.max / this.#options.pods));
      if (open >= share) return { isTaken: false, turns: rule.kind };
    }
    const refused = this.#levels.take(charges, this.#nowMs());
    return refused === undefined ? { isTaken: true } : { isTaken: false, refused };
  }

  #refuse({ owner, turn }: Asked, taken: Exclude<Taken, { isTaken: true }>): ZlError {
    if ('turns' in taken) {
      const rule = turn?.[taken.turns];
      if (rule === undefined)
        return new ZlError('internal', 'a limit that nobody asked for refused');
      const about = { kind: rule.kind, limit: 'turns', refusal: rule.refusal } as const;
      this.#note(owner, about, TURNS_REMEMBERED_MS);
      return rule.refusal.after(this.#turnMs / rule.max);
    }
    const { charge, waitMs } = taken.refused;
    const { dimension, kind, refusal, intervalMs } = charge.rule;
    // Before then not even the least would be granted.
    const leastMs = waitMs - Math.max(0, charge.amount - 1) * intervalMs;
    const mostMs = dimension === 'requests' ? Number.POSITIVE_INFINITY : MAX_REMEMBERED_MS;
    this.#note(owner, { kind, limit: dimension, refusal }, Math.min(leastMs, mostMs));
    return refusal.after(waitMs);
  }

  #note(owner: Owner, refused: Omit<KnownRefusal, 'untilMs'>, forMs: number): void {
    this.#options.metrics.refused(refused.kind, refused.limit);
    if (forMs > 0) this.#refused.add(owner, { ...refused, untilMs: this.#nowMs() + forMs });
  }

  #correct(charges: readonly Charge[]): void {
    if (charges.length === 0) return;
    const { store } = this.#options;
    const isAlone = store === undefined || this.#by === 'pod';
    this.#levels.add(charges, this.#nowMs(), { isOwed: isAlone && store !== undefined });
    if (!isAlone) store.correct(charges).catch((reason: unknown) => this.#leave(reason));
  }

  #release(ownerKey: string, turnId: string): void {
    const turns = this.#open.get(ownerKey);
    turns?.delete(turnId);
    if (turns?.size === 0) this.#open.delete(ownerKey);
    // What is not released expires with its lease.
    if (this.#by === 'redis') this.#options.store?.release(ownerKey, turnId).catch(() => {});
  }

  async #renew(): Promise<void> {
    if (this.#by !== 'redis') return;
    try {
      await this.#renewAll();
    } catch (reason) {
      this.#leave(reason);
    }
  }

  async #renewAll(): Promise<void> {
    const { store } = this.#options;
    await Promise.all([...this.#open].map(([key, turns]) => store?.renew(key, [...turns])));
  }

  #leave(reason: unknown): void {
    if (this.#by === 'pod') return;
    this.#by = 'pod';
    const { metrics, log, pods } = this.#options;
    metrics.switched('pod');
    log.warn({ err: reason, pods }, 'limits are kept by this pod alone: Redis is away or late');
  }

  /** Redis is told first what was granted without it. */
  async #return(): Promise<void> {
    const { store, metrics, log } = this.#options;
    if (store === undefined || this.#by === 'redis' || this.#isReturning) return;
    this.#isReturning = true;
    try {
      await store.take(NOTHING);
      await this.#renewAll();
      for (let round = 0; round < MAX_ROUNDS; round += 1) {
        if ((await this.#tellOwed(store)) === 0) break;
      }
      this.#by = 'redis';
      this.#refused.clear();
      metrics.switched('redis');
      log.info({}, 'limits are shared through Redis again');
      await this.#tellOwed(store);
    } catch {
      // Still away; what was not told stays owed.
    } finally {
      this.#isReturning = false;
    }
  }

  /** Returns how many were owed. */
  async #tellOwed(store: QuotaStore): Promise<number> {
    const owed = this.#levels.takeOwed(this.#nowMs());
    for (let told = 0; told < owed.length; told += ADDED_AT_ONCE) {
      try {
        await store.add(owed.slice(told, told + ADDED_AT_ONCE));
      } catch (reason) {
        for (const each of owed.slice(told)) this.#levels.owe(each, this.#nowMs());
        throw reason;
      }
    }
    return owed.length;
  }

  #rulesOf(owner: Owner) {
    const { rules } = this.#options;
    return (['tenant', 'user'] as const).flatMap((kind) => {
      const found = rules.of(kind, owner);
      return found === undefined ? [] : [[kind, found] as const];
    });
  }

  #chargesOf(owner: Owner, amounts: Amounts): Charge[] {
    return this.#rulesOf(owner).flatMap(([kind, { rates }]) =>
      DIMENSIONS.flatMap((dimension) => {
        const rule = rates[dimension];
        const amount = amounts[dimension];
        if (rule === undefined || amount === undefined) return [];
        return [{ ownerKey: ownerKeyOf(kind, owner), rule, amount }];
      }),
    );
  }
}
