import type { ComponentCheck } from '@zerolatency/service/lifecycle';
import type { Log } from '../ports.ts';
import { Membership, type PodRecord } from './membership.ts';
import { Moves, type MovesOptions } from './moves.ts';
import { PodShards } from './shards.ts';

/** Where the pods of a pool announce themselves. Every method may fail with its store. */
export interface PodRegister {
  /** Announces this pod for `ttlMs`. Returns all that are announced: this one, and a bounded number of others. */
  announce(pod: PodRecord, ttlMs: number): Promise<readonly PodRecord[]>;
  leave(relayId: string): Promise<void>;
}

export interface ShardingOptions extends Pick<MovesOptions, 'monotonicMs'> {
  readonly own: () => PodRecord;
  readonly register: PodRegister;
  readonly width: number;
  readonly movesPerSecond: number;
  readonly settleMs: number;
  readonly log: Log;
}

const READ_EVERY_MS = 2_000;
/** Two readings may fail before the others miss this pod. */
const TTL_MS = 6_000;

/** Keeps this pod among the pods of its pool, and its devices where they belong. */
export class Sharding {
  readonly shards: PodShards;
  readonly #options: ShardingOptions;
  readonly #membership: Membership;
  #moves: Moves | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isReading = false;
  #isClosed = false;

  constructor(options: ShardingOptions) {
    const { relayId } = options.own();
    this.#options = options;
    this.#membership = new Membership(relayId, options.settleMs);
    this.shards = new PodShards(relayId, options.width, this.#membership);
  }

  get pods(): number {
    return this.#membership.members.length;
  }

  get generation(): number {
    return this.#membership.generation;
  }

  readonly component: ComponentCheck = async () => {
    const { devices = 0, outOfPlace = 0 } = this.#moves?.figures ?? {};
    const pods = `${this.pods} pods, generation ${this.generation}`;
    const detail = `${pods}, ${outOfPlace} of ${devices} devices out of place`;
    if (this.#membership.isCurrent) return { status: 'ok', detail };
    return { status: 'degraded', detail: `${detail}; the pods cannot be read, so none moves` };
  };

  /** Resolves after the first reading. */
  async open(sessions: MovesOptions['sessions']): Promise<void> {
    const { movesPerSecond, monotonicMs } = this.#options;
    this.#moves = new Moves({
      ...{ sessions, shards: this.shards, movesPerSecond, monotonicMs },
      // All but the one that is moved to.
      otherPods: () => this.pods - 1,
    });
    await this.#read();
    this.#timer = setInterval(() => void this.#read(), READ_EVERY_MS);
    this.#timer.unref();
    this.#moves.start();
  }

  /** Before the devices are told to leave, so that no pod sends them back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#moves?.close();
    // Where it fails the announcement expires.
    await this.#options.register.leave(this.#options.own().relayId).catch(() => {});
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    if (this.#isReading || this.#isClosed) return;
    this.#isReading = true;
    const { register, own, monotonicMs, log } = this.#options;
    try {
      const pods = await register.announce(own(), TTL_MS);
      const { generation } = this;
      if (this.#membership.read(pods, monotonicMs())) this.#moves?.start();
      if (generation !== this.generation)
        log.info({ pods: this.pods, generation: this.generation }, 'pods of the pool changed');
    } catch (err) {
      if (this.#membership.isCurrent) log.warn({ err }, 'pods of the pool cannot be read');
      this.#membership.lose();
    } finally {
      this.#isReading = false;
    }
  }
}
