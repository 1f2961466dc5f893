import { ZlError } from '@zerolatency/errors';
import type { ScriptRunner } from '@zerolatency/service/redis';
import { type Owner, turnNotFound } from '../../chat/turn-logs.ts';
import { TurnLog, type TurnLogBounds } from '../../turn/turn-log.ts';
import { decodeBatch } from './batch.ts';
import { LEASE_MS } from './log-writer.ts';
import { keysOf, READ } from './scripts.ts';
import type { Seal, Sealing } from './sealing.ts';

export interface LogFollowerOptions {
  readonly redis: Pick<ScriptRunner, 'run'>;
  readonly sealing: Sealing;
  readonly bounds: TurnLogBounds;
}

/** How far the client of another pod may be ahead of what that pod has copied. */
const MAX_AHEAD = 20_000;
/** While anybody reads; one command for each turn that is read. */
const ROUND_MS = 50;
const ENTRIES_PER_READ = 256;
/** A pod that Redis has just come back to renews its leases within this time. */
export const LAPSED_MS = 3000;
/** After this time a log that is gone, or a Redis that is away, counts as lost. */
const GONE_MS = 2 * LEASE_MS;

/** Reads turns of other pods: one loop for all readers of this pod. */
export class LogFollower {
  readonly #options: LogFollowerOptions;
  readonly #followed = new Set<FollowedTurn>();
  #round: NodeJS.Timeout | undefined;

  constructor(options: LogFollowerOptions) {
    this.#options = options;
  }

  /** @throws turn.not_found or turn.unreachable */
  async follow(turnId: string, owner: Owner, after: number): Promise<FollowedTurn> {
    const { sealing, redis, bounds } = this.#options;
    const seal = sealing.of(owner.tenant, turnId);
    const place = { turnId, owner: ownerText(owner), seal };
    let found: Found | undefined;
    try {
      found = await read(redis, place, { after, mayEnd: false });
    } catch (cause) {
      throw unreachable(cause);
    }
    if (found === undefined) throw turnNotFound();
    const turn = new FollowedTurn(redis, { ...place, bounds, found, after });
    if (!turn.log.isClosed) this.#followed.add(turn);
    this.#schedule();
    return turn;
  }

  close(): void {
    clearTimeout(this.#round);
    this.#followed.clear();
  }

  #schedule(): void {
    if (this.#followed.size === 0) return;
    this.#round ??= setTimeout(() => {
      this.#round = undefined;
      for (const turn of this.#followed) {
        if (turn.isOver) this.#followed.delete(turn);
        else void turn.readOn();
      }
      this.#schedule();
    }, ROUND_MS).unref();
  }
}

export function ownerText({ tenant, user }: Owner): string {
  return JSON.stringify([tenant, user]);
}

export function unreachable(cause: unknown): ZlError {
  const message = 'the pod of the turn cannot be asked, because Redis does not answer';
  return new ZlError('turn.unreachable', message, { cause });
}

interface Place {
  readonly turnId: string;
  readonly owner: string;
  readonly seal: Seal;
}

interface Found {
  readonly sessionId: string;
  readonly last: number;
  readonly ended: string;
  readonly isLapsed: boolean;
  readonly entries: readonly { readonly last: number; readonly stored: string }[];
}

async function read(
  redis: Pick<ScriptRunner, 'run'>,
  { turnId, owner }: Place,
  { after, mayEnd }: { after: number; mayEnd: boolean },
): Promise<Found | undefined> {
  const args = [owner, after, ENTRIES_PER_READ, mayEnd ? '1' : ''];
  const reply = await redis.run(READ, keysOf(turnId), args);
  if (!Array.isArray(reply)) return undefined;
  const [sessionId, last, ended, lapsed, ...flat] = reply.map(String);
  const entries: { last: number; stored: string }[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    entries.push({ last: Number(flat[i]), stored: flat[i + 1] ?? '' });
  }
  const isLapsed = lapsed === '1';
  return { sessionId: sessionId ?? '', last: Number(last), ended: ended ?? '', isLapsed, entries };
}

interface FollowedOptions extends Place {
  readonly bounds: TurnLogBounds;
  readonly found: Found;
  readonly after: number;
}

/** A turn of another pod, with the part of its log that is read here. */
export class FollowedTurn {
  readonly log: TurnLog;
  readonly ended: Promise<void>;
  readonly #redis: Pick<ScriptRunner, 'run'>;
  readonly #place: Place;
  readonly #onEnded: () => void;
  readonly #sinceMs = performance.now();
  #goneSinceMs: number | undefined;
  #lapsedSinceMs: number | undefined;
  #isReading = false;

  constructor(
    redis: Pick<ScriptRunner, 'run'>,
    { found, after, bounds, ...place }: FollowedOptions,
  ) {
    this.#redis = redis;
    this.#place = place;
    const { turnId } = place;
    const [first] = found.entries;
    const from = first === undefined ? after + 1 : first.last - this.#decoded(first).length + 1;
    // What its own pod has sent may not have been copied yet.
    const isAhead = found.ended === '' ? after > found.last + MAX_AHEAD : after > found.last;
    const next = isAhead && found.ended !== 'lost' ? found.last + 1 : Math.max(from, after + 1);
    this.log = new TurnLog({ sessionId: found.sessionId, turnId }, bounds, next);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#onEnded = resolve;
    this.#take(found);
  }

  /** Nobody reads it, or there is nothing more to read. */
  get isOver(): boolean {
    const isFresh = performance.now() - this.#sinceMs < LEASE_MS;
    return this.log.isClosed || (!this.log.isRead && !isFresh);
  }

  /** One step, unless the readers here are behind or the step before still runs. */
  async readOn(): Promise<void> {
    if (this.#isReading || this.log.isFull) return;
    this.#isReading = true;
    const nowMs = performance.now();
    try {
      const mayEnd = nowMs - (this.#lapsedSinceMs ?? nowMs) >= LAPSED_MS;
      const after = this.log.nextSequence - 1;
      const found = await read(this.#redis, this.#place, { after, mayEnd });
      if (found === undefined) this.#onGone(nowMs);
      else this.#take(found);
    } catch (reason) {
      if (reason instanceof ZlError) this.#end(reason);
      else this.#onGone(nowMs);
    }
    this.#isReading = false;
  }

  #take(found: Found): void {
    this.#goneSinceMs = undefined;
    this.#lapsedSinceMs = found.isLapsed ? (this.#lapsedSinceMs ?? performance.now()) : undefined;
    for (const entry of found.entries) {
      const events = this.#decoded(entry);
      const first = entry.last - events.length + 1;
      if (first > this.log.nextSequence) {
        this.#end(lost('they were dropped unread'));
        return;
      }
      for (const event of events.slice(this.log.nextSequence - first)) this.log.append(event);
    }
    if (found.ended === '' || this.log.nextSequence <= found.last) return;
    if (found.ended === 'lost') this.#end(podLost());
    else if (found.ended === 'broken') this.#end(lost('they did not reach Redis'));
    else this.#end(this.log.nextSequence > found.last + 1 ? neverThere(found.last) : undefined);
  }

  #decoded({ last, stored }: Found['entries'][number]) {
    const { seal, turnId } = this.#place;
    return decodeBatch(seal.open(stored, `${turnId} ${last}`));
  }

  /** Its pod writes the log again after Redis has lost it. */
  #onGone(nowMs: number): void {
    this.#goneSinceMs ??= nowMs;
    if (nowMs - this.#goneSinceMs >= GONE_MS) this.#end(lost('Redis no longer has them'));
  }

  #end(error: ZlError | undefined): void {
    if (error === undefined) this.log.end();
    else this.log.error(error);
    this.#onEnded();
  }
}

function neverThere(last: number): ZlError {
  return new ZlError('request.invalid', `the turn has ended with event ${last}`);
}

function lost(reason: string): ZlError {
  const message = `the events of the turn that follow cannot be read: ${reason}`;
  return new ZlError('chat.events_lost', message, { happened: 'may have run' });
}

/** Its tools may have run. */
function podLost(): ZlError {
  const message = 'the pod that ran the turn is gone';
  return new ZlError('turn.lost', message, { happened: 'may have run' });
}
