import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type { RedisSecrets, RedisSettings, Script, ScriptRunner } from '@zerolatency/service/redis';
import { connectRedis } from '@zerolatency/service/redis-client';
import type { StoreOperation } from '../../directory/directory.ts';
import type { Clock, Log } from '../../ports.ts';
import type { LeaseStore } from './redis-directory.ts';
import { CLAIM, DISCLAIM } from './scripts.ts';

export interface StoreMetrics {
  operation(operation: StoreOperation, outcome: 'done' | 'failed'): void;
}

export interface RedisStoreOptions {
  readonly settings: RedisSettings;
  readonly secrets: RedisSecrets;
  readonly relayId: string;
  /** For an operator who looks for the pod. */
  readonly address: () => string;
  readonly clock: Pick<Clock, 'unixMs'>;
  readonly metrics: StoreMetrics;
  readonly log: Log;
  /** Redis answers again. */
  readonly onRecovered: () => void;
  /** Another pod has taken the relay id of this one. */
  readonly onDisplaced: (error: ZlError) => void;
}

/**
 *   connected <-> degraded -> closed
 *
 * Degraded from the first operation that fails until a claim succeeds. Nothing
 * else is sent meanwhile, so that nobody waits for a Redis that is away.
 */
type State =
  | { readonly name: 'connected' }
  | { readonly name: 'degraded'; readonly sinceUnixMs: number; readonly why: string }
  | { readonly name: 'closed' };

const CLAIM_EVERY_MS = 1000;
/** A pod that was killed has its name back after this. */
const CLAIM_TTL_MS = 5000;
const CLAIM_RETRY_MS = 250;

/** Redis for one pod: whether it answers, and the claim of the pod to its relay id. */
export class RedisStore implements LeaseStore {
  readonly #options: RedisStoreOptions;
  readonly #redis: ScriptRunner;
  readonly #instance = randomBytes(12).toString('base64url');
  #state: State;
  #timer: NodeJS.Timeout | undefined;
  #isClaiming = false;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.#state = {
      name: 'degraded',
      sinceUnixMs: options.clock.unixMs(),
      why: 'not connected yet',
    };
    const { settings, secrets } = options;
    this.#redis = connectRedis(settings, secrets, () => void this.#claim());
  }

  get state(): State {
    return this.#state;
  }

  /**
   * Resolves when this pod has its relay id, or when Redis cannot be reached.
   * Fails when another pod has it and lives.
   */
  async open(): Promise<void> {
    let leftMs = Number.POSITIVE_INFINITY;
    await this.#redis.firstTry.catch(() => {});
    for (;;) {
      const holder = await this.#askClaim().catch((reason: unknown) => this.#degrade(reason));
      if (holder === undefined) break;
      // The name of a pod that was killed expires; that of one that lives is claimed again.
      if (holder.leftMs > leftMs) {
        this.close();
        throw this.#taken(holder.instance);
      }
      leftMs = holder.leftMs;
      await sleep(CLAIM_RETRY_MS);
    }
    if (this.#state.name === 'degraded') {
      const { why } = this.#state;
      this.#options.log.warn({ why }, 'directory degraded: starting without Redis');
    }
    this.#timer = setInterval(() => void this.#claim(), CLAIM_EVERY_MS);
    this.#timer.unref();
  }

  async run(
    operation: StoreOperation,
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    if (this.#state.name !== 'connected') throw this.#unavailable();
    try {
      const answer = await this.#redis.run(script, keys, args);
      this.#options.metrics.operation(operation, 'done');
      return answer;
    } catch (reason) {
      this.#options.metrics.operation(operation, 'failed');
      this.#degrade(reason);
      throw this.#unavailable();
    }
  }

  /** Gives the relay id back, so that the next pod of this name need not wait. */
  async leave(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#state.name === 'connected') {
      await this.#redis.run(DISCLAIM, [this.#podKey], [this.#holder]).catch(() => {});
    }
    this.close();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#state = { name: 'closed' };
    this.#redis.close();
  }

  get #podKey(): string {
    return `zl:pod:${this.#options.relayId}`;
  }

  get #holder(): string {
    return `${this.#instance} ${this.#options.address()}`;
  }

  /** Never rejects. */
  async #claim(): Promise<void> {
    if (this.#isClaiming || this.#timer === undefined || this.#state.name === 'closed') return;
    this.#isClaiming = true;
    try {
      const holder = await this.#askClaim();
      if (holder !== undefined) this.#options.onDisplaced(this.#taken(holder.instance));
    } catch (reason) {
      this.#degrade(reason);
    } finally {
      this.#isClaiming = false;
    }
  }

  /** Returns who else has the relay id, if somebody has. */
  async #askClaim(): Promise<{ instance: string; leftMs: number } | undefined> {
    const { metrics } = this.#options;
    try {
      const args = [this.#holder, CLAIM_TTL_MS];
      const answer = await this.#redis.run(CLAIM, [this.#podKey], args);
      if (!Array.isArray(answer))
        throw new ZlError('directory.degraded', 'a claim was answered with something else');
      metrics.operation('claim', 'done');
      if (answer.length > 0) return { instance: String(answer[0]), leftMs: Number(answer[1]) };
      this.#recover();
      return undefined;
    } catch (reason) {
      metrics.operation('claim', 'failed');
      throw reason;
    }
  }

  #recover(): void {
    if (this.#state.name !== 'degraded') return;
    const awayMs = this.#options.clock.unixMs() - this.#state.sinceUnixMs;
    this.#state = { name: 'connected' };
    this.#options.log.info({ away_ms: awayMs }, 'directory connected');
    this.#options.onRecovered();
  }

  #degrade(reason: unknown): undefined {
    if (this.#state.name === 'closed') return;
    const why = this.#redis.fault ?? messageOf(reason);
    const sinceUnixMs = this.#options.clock.unixMs();
    const wasConnected = this.#state.name === 'connected';
    if (wasConnected) {
      this.#state = { name: 'degraded', sinceUnixMs, why };
      this.#options.log.warn({ err: reason }, 'directory degraded: going on without Redis');
      // It may be half open, which only a new connection shows.
      this.#redis.reconnect();
    } else if (this.#state.name === 'degraded') this.#state = { ...this.#state, why };
  }

  #unavailable(): ZlError {
    const why = this.#state.name === 'degraded' ? this.#state.why : this.#state.name;
    return new ZlError('directory.degraded', `Redis is not available: ${why}`);
  }

  #taken(holder: string): ZlError {
    const { relayId } = this.#options;
    const message = `relayId ${relayId} is in use by another pod (${holder}): give each pod its own`;
    return new ZlError('config.invalid', message);
  }
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : 'failed';
}
