import { ZlError } from '@zerolatency/errors';
import { type Script, type ScriptRunner, script } from '@zerolatency/service/redis';
import type { Clock } from '../../ports.ts';
import {
  CODE_LIMITS,
  type CodeAdded,
  type CodeStore,
  type Invitation,
} from '../../registrar/code-store.ts';

/** The open codes by their expiry: of all, and below it of each tenant. */
const OPEN_CODES = 'zl:codes';
/** Nothing of a code is kept longer. */
const MAX_LIFETIME_MS = 3_600_000;

export interface RedisCodesOptions {
  readonly clock: Pick<Clock, 'unixMs'>;
  readonly redis: ScriptRunner;
}

/**
 * Takes one of the places of a tenant, or of all. ARGV: code hash, now, expiry, places. One key each,
 * because a Cluster may have them on different servers; a place that is not given back expires.
 */
const RESERVE = script(`
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ${MAX_LIFETIME_MS})
return 1
`);
const GIVE_BACK = script("return redis.call('ZREM', KEYS[1], ARGV[1])");
/** ARGV: invitation, ttlMs. */
const ADD = script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])");
const READ = script("return redis.call('GET', KEYS[1])");
const TAKE = script(`
local invitation = redis.call('GET', KEYS[1])
if invitation then redis.call('DEL', KEYS[1]) end
return invitation
`);

/** Codes outlive a restart of the registrar. Redis holds hashes, and removes them in time. */
export class RedisCodes implements CodeStore {
  readonly #clock: RedisCodesOptions['clock'];
  readonly #redis: ScriptRunner;

  constructor({ clock, redis }: RedisCodesOptions) {
    this.#clock = clock;
    this.#redis = redis;
  }

  async add(codeHash: string, invitation: Invitation): Promise<CodeAdded> {
    const { expiresAtMs, tenant } = invitation;
    const nowMs = this.#clock.unixMs();
    const ttlMs = Math.ceil(expiresAtMs - nowMs);
    if (ttlMs <= 0) return 'added';
    const reserve = async (key: string, places: number) =>
      (await this.#run(RESERVE, key, [codeHash, nowMs, expiresAtMs, places])) === 1;
    if (!(await reserve(OPEN_CODES, CODE_LIMITS.all))) return 'store is full';
    if (!(await reserve(openCodesOf(tenant), CODE_LIMITS.tenant))) {
      await this.#run(GIVE_BACK, OPEN_CODES, [codeHash]);
      return 'tenant is full';
    }
    await this.#run(ADD, keyOf(codeHash), [JSON.stringify(invitation), ttlMs]);
    return 'added';
  }

  async has(codeHash: string): Promise<boolean> {
    return this.#read(await this.#run(READ, keyOf(codeHash))) !== undefined;
  }

  async take(codeHash: string): Promise<Invitation | undefined> {
    const invitation = this.#read(await this.#run(TAKE, keyOf(codeHash)));
    if (invitation === undefined) return undefined;
    for (const key of [OPEN_CODES, openCodesOf(invitation.tenant)]) {
      // The code is taken; a place that stays expires with it.
      await this.#run(GIVE_BACK, key, [codeHash]).catch(() => {});
    }
    return invitation;
  }

  status() {
    const { fault } = this.#redis;
    if (fault === undefined) return { status: 'ok', detail: 'redis' } as const;
    return { status: 'degraded', detail: `without redis: ${fault}` } as const;
  }

  close(): void {
    this.#redis.close();
  }

  async #run(command: Script, key: string, args: readonly (string | number)[] = []) {
    // After the first try the connection is made again by itself.
    await this.#redis.firstTry.catch(() => {});
    try {
      return await this.#redis.run(command, [key], args);
    } catch (cause) {
      const why = 'the registrar cannot reach the Redis with its codes';
      throw new ZlError('peer.unavailable', why, { cause });
    }
  }

  /** Undefined for what we did not write, too. */
  #read(answer: unknown): Invitation | undefined {
    const invitation = typeof answer === 'string' ? parse(answer) : undefined;
    if (invitation === undefined) return undefined;
    return this.#clock.unixMs() < invitation.expiresAtMs ? invitation : undefined;
  }
}

function keyOf(codeHash: string): string {
  return `zl:code:${codeHash}`;
}

function openCodesOf(tenant: string): string {
  return `${OPEN_CODES}:${tenant}`;
}

function parse(text: string): Invitation | undefined {
  try {
    const { tenant, deviceId, issuedAtMs, expiresAtMs } = JSON.parse(text);
    const hasNames = typeof tenant === 'string' && typeof deviceId === 'string';
    const hasTimes = Number.isFinite(issuedAtMs) && Number.isFinite(expiresAtMs);
    return hasNames && hasTimes ? { tenant, deviceId, issuedAtMs, expiresAtMs } : undefined;
  } catch {
    // Not JSON, or null.
    return undefined;
  }
}
