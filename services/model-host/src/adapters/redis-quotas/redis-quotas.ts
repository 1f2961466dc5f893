import type { Script, ScriptRunner } from '@zerolatency/service/redis';
import type { Charge, Owed } from '../../limits/local-levels.ts';
import type { Asked, QuotaStore, Taken } from '../../limits/quotas.ts';
import { ownerKeyOf } from '../../limits/rules.ts';
import { ADD, RELEASE, RENEW, TAKE } from './scripts.ts';

export interface RedisQuotasOptions {
  readonly redis: ScriptRunner;
  /** A decision that takes longer is taken without Redis. */
  readonly timeoutMs: number;
  readonly leaseMs: number;
}

/** Quotas over all pods that have this Redis: one script, and so one round trip, for each decision. */
export class RedisQuotas implements QuotaStore {
  readonly #options: RedisQuotasOptions;

  constructor(options: RedisQuotasOptions) {
    this.#options = options;
  }

  async take({ owner, turn, charges }: Asked): Promise<Taken> {
    const keys = (['tenant', 'user'] as const).flatMap((kind) => {
      const ownerKey = ownerKeyOf(kind, owner);
      return [levelsOf(ownerKey), turnsOf(ownerKey)];
    });
    const args = charges.flatMap(({ rule, amount }) => [
      rule.kind === 'tenant' ? 1 : 3,
      rule.dimension,
      amount * rule.intervalMs,
      rule.toleranceMs,
    ]);
    const answer = await this.#decide(TAKE, keys, [
      turn?.id ?? '',
      this.#options.leaseMs,
      turn?.tenant?.max ?? 0,
      turn?.user?.max ?? 0,
      ...args,
    ]);
    const [index = Number.NaN, waitUs = Number.NaN] = Array.isArray(answer)
      ? answer.map(Number)
      : [];
    if (index === 0) return { isTaken: true };
    if (index === -1) return { isTaken: false, turns: 'tenant' };
    if (index === -2) return { isTaken: false, turns: 'user' };
    const charge = charges[index - 1];
    if (charge === undefined || !Number.isFinite(waitUs)) {
      throw new Error('Redis answered a script with something else');
    }
    return { isTaken: false, refused: { charge, waitMs: waitUs / 1000 } };
  }

  async correct(charges: readonly Charge[]): Promise<void> {
    const owed = charges.map(({ ownerKey, rule, amount }) => ({
      ownerKey,
      rule,
      ms: amount * rule.intervalMs,
    }));
    await this.add(owed);
  }

  async add(owed: readonly Owed[]): Promise<void> {
    const byOwner = Map.groupBy(owed, ({ ownerKey }) => ownerKey);
    await Promise.all(
      [...byOwner].map(([key, each]) => {
        const args = each.flatMap(({ rule, ms }) => [rule.dimension, ms, rule.toleranceMs]);
        return this.#options.redis.run(ADD, [levelsOf(key)], args);
      }),
    );
  }

  async renew(ownerKey: string, turns: readonly string[]): Promise<void> {
    const { redis, leaseMs } = this.#options;
    await redis.run(RENEW, [turnsOf(ownerKey)], [leaseMs, ...turns]);
  }

  async release(ownerKey: string, turn: string): Promise<void> {
    await this.#options.redis.run(RELEASE, [turnsOf(ownerKey)], [turn]);
  }

  async #decide(script: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    const { redis, timeoutMs } = this.#options;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      // Where this process was late and not Redis, the answer is in its socket and is read first.
      setImmediate(() => reject(new Error(`Redis did not answer within ${timeoutMs} ms`)));
    }, timeoutMs);
    try {
      return await Promise.race([redis.run(script, keys, args), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function levelsOf(ownerKey: string): string {
  return `zl:limits:${ownerKey}`;
}

function turnsOf(ownerKey: string): string {
  return `zl:turns:${ownerKey}`;
}
