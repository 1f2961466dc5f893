import { setTimeout as delay } from 'node:timers/promises';
import type { ZlError } from '@zerolatency/errors';
import type { ScriptRunner } from '@zerolatency/service/redis';
import {
  type FoundTurn,
  type KeptTurn,
  type Owner,
  type PodTurnLogs,
  type TurnLogs,
  turnNotFound,
} from '../../chat/turn-logs.ts';
import type { TurnLog } from '../../turn/turn-log.ts';
import { LAPSED_MS, LogFollower, ownerText, unreachable } from './log-follower.ts';
import { type AppendResult, LogWriter } from './log-writer.ts';
import { CANCEL, keysOf } from './scripts.ts';
import type { Sealing } from './sealing.ts';

export interface RedisTurnLogsOptions {
  readonly redis: Pick<ScriptRunner, 'run'>;
  readonly sealing: Sealing;
  /** The turns of this pod itself, which need no Redis. */
  readonly own: PodTurnLogs;
  readonly pod: string;
  readonly onAppend: (result: AppendResult) => void;
}

const CANCEL_ROUND_MS = 100;

/** The turns of all pods that share a Redis. */
export class RedisTurnLogs implements TurnLogs {
  readonly #own: PodTurnLogs;
  readonly #redis: Pick<ScriptRunner, 'run'>;
  readonly #writer: LogWriter;
  readonly #follower: LogFollower;

  constructor({ own, ...options }: RedisTurnLogsOptions) {
    this.#own = own;
    this.#redis = options.redis;
    const { windowMs, turn: bounds } = own.bounds;
    this.#writer = new LogWriter({ ...options, windowMs });
    this.#follower = new LogFollower({ ...options, bounds });
  }

  open(turn: { readonly sessionId: string; readonly turnId: string }): TurnLog {
    return this.#own.open(turn);
  }

  keep(turn: KeptTurn): void {
    this.#own.keep(turn);
    this.#writer.begin(turn);
  }

  /** A foreign turn of this pod is looked for in Redis like an unknown one, and takes as long. */
  async find(turnId: string, owner: Owner, afterSequence: number): Promise<FoundTurn> {
    const own = this.#own.findHere(turnId, owner);
    if (own !== undefined) return own;
    const { log, ended } = await this.#follower.follow(turnId, owner, afterSequence);
    const cancel = (error: ZlError) => void this.cancel(turnId, owner, error).catch(() => {});
    return { log, ended, cancel, isElsewhere: true };
  }

  async cancel(turnId: string, owner: Owner, error: ZlError): Promise<void> {
    const own = this.#own.findHere(turnId, owner);
    if (own !== undefined) {
      own.cancel(error);
      return;
    }
    let lapsedSinceMs: number | undefined;
    for (;;) {
      const nowMs = performance.now();
      const mayEnd = nowMs - (lapsedSinceMs ?? nowMs) >= LAPSED_MS;
      const state = await this.#cancelElsewhere(turnId, owner, mayEnd);
      if (state === null) throw turnNotFound();
      if (state === 'ended' || state === 'told') return;
      lapsedSinceMs = state === 'lapsed' ? (lapsedSinceMs ?? nowMs) : undefined;
      await delay(CANCEL_ROUND_MS);
    }
  }

  /** Resolves when Redis has the events of this pod, or does not answer. */
  async close(): Promise<void> {
    this.#follower.close();
    await this.#writer.close();
  }

  async #cancelElsewhere(turnId: string, owner: Owner, mayEnd: boolean): Promise<unknown> {
    try {
      const args = [ownerText(owner), mayEnd ? '1' : ''];
      return await this.#redis.run(CANCEL, keysOf(turnId).slice(0, 1), args);
    } catch (cause) {
      throw unreachable(cause);
    }
  }
}
