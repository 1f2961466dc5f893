import { type ErrorId, isErrorId, ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';
import { TurnLog, type TurnLogBounds } from '../turn/turn-log.ts';

export type Owner = Pick<Identity, 'tenant' | 'user'>;

/** A turn for those who read or cancel it from another stream than its own. */
export interface KeptTurn {
  readonly log: TurnLog;
  readonly owner: Owner;
  /** Resolves once the log has its last event. */
  readonly ended: Promise<unknown>;
  cancel(error: ZlError): void;
}

export interface FoundTurn extends Omit<KeptTurn, 'owner'> {
  /** It runs on another pod, so this pod may stop before it ends. */
  readonly isElsewhere: boolean;
}

/** The turns whose events can be read again. Only its owner finds a turn. */
export interface TurnLogs {
  open(turn: { readonly sessionId: string; readonly turnId: string }): TurnLog;
  /** From now until its window has passed after its end. */
  keep(turn: KeptTurn): void;
  /** The log holds the events after the sequence, as far as they are kept. @throws turn.not_found */
  find(turnId: string, owner: Owner, afterSequence: number): Promise<FoundTurn>;
  /** Resolves when the turn has been told; one that has ended is left as it is. @throws turn.not_found */
  cancel(turnId: string, owner: Owner, error: ZlError): Promise<void>;
}

export interface TurnLogsBounds {
  readonly turn: TurnLogBounds;
  /** How long the log of a turn outlives it. */
  readonly windowMs: number;
  /** For turns that have ended; running turns are bounded by their number. */
  readonly maxBytesPerTenant: number;
  readonly maxBytesPerPod: number;
}

/** The same answer for an unknown turn, a foreign one, and one that is no longer kept. */
export function turnNotFound(): ZlError {
  const message = 'no turn of this user has this id, or its events are no longer kept';
  return new ZlError('turn.not_found', message);
}

/** Why the turn failed, by its last event; undefined for one that is done or runs. */
export function failureIn(log: TurnLog): ZlError | undefined {
  const last = log.at(log.nextSequence - 1)?.event;
  if (!log.isClosed || last?.case !== 'error') return undefined;
  const { id = '', message = '', retryable = false } = last.value;
  const known: ErrorId = isErrorId(id) ? id : 'internal';
  return new ZlError(known, message, { happened: retryable ? 'nothing' : 'may have run' });
}

/** Memory of a turn beside its events. */
const TURN_BYTES = 4 * 1024;

interface EndedTurn {
  readonly log: TurnLog;
  readonly owner: Owner;
  readonly bytes: number;
  readonly keptUntilMs: number;
}

/** What one tenant keeps, the turn that ended first in front. */
interface Shelf {
  readonly turns: Set<EndedTurn>;
  bytes: number;
}

/** The turns of this pod, in its memory. */
export class PodTurnLogs implements TurnLogs {
  readonly bounds: TurnLogsBounds;
  readonly #nowMs: () => number;
  readonly #running = new Map<string, KeptTurn>();
  readonly #ended = new Map<string, EndedTurn>();
  readonly #shelves = new Map<string, Shelf>();
  #bytes = 0;
  #expiry: NodeJS.Timeout | undefined;

  constructor(bounds: TurnLogsBounds, nowMs: () => number) {
    this.bounds = bounds;
    this.#nowMs = nowMs;
  }

  /** What the ended turns take. */
  get bytes(): number {
    return this.#bytes;
  }

  open(turn: { readonly sessionId: string; readonly turnId: string }): TurnLog {
    return new TurnLog(turn, this.bounds.turn);
  }

  keep(turn: KeptTurn): void {
    const { log, owner } = turn;
    this.#running.set(log.turnId, turn);
    void turn.ended.then(() => {
      this.#running.delete(log.turnId);
      this.#shelve(log, owner);
    });
  }

  async find(turnId: string, owner: Owner): Promise<FoundTurn> {
    const found = this.findHere(turnId, owner);
    if (found === undefined) throw turnNotFound();
    return found;
  }

  findHere(turnId: string, owner: Owner): FoundTurn | undefined {
    this.#dropExpired();
    const running = this.#running.get(turnId);
    const turn = running ?? this.#ended.get(turnId);
    if (turn === undefined || !isSame(turn.owner, owner)) return undefined;
    return {
      log: turn.log,
      isElsewhere: false,
      ended: running?.ended ?? Promise.resolve(),
      cancel: (error) => running?.cancel(error),
    };
  }

  async cancel(turnId: string, owner: Owner, error: ZlError): Promise<void> {
    (await this.find(turnId, owner)).cancel(error);
  }

  #shelve(log: TurnLog, owner: Owner): void {
    this.#dropExpired();
    const bytes = TURN_BYTES + log.keptBytes;
    const turn = { log, owner, bytes, keptUntilMs: this.#nowMs() + this.bounds.windowMs };
    const shelf = this.#shelves.get(owner.tenant) ?? { turns: new Set(), bytes: 0 };
    this.#shelves.set(owner.tenant, shelf);
    shelf.turns.add(turn);
    shelf.bytes += bytes;
    this.#bytes += bytes;
    this.#ended.set(log.turnId, turn);
    this.#watchExpiry();
    while (shelf.bytes > this.bounds.maxBytesPerTenant) this.#dropOldest(shelf);
    // The tenant that keeps the most makes room, so that it cannot displace a smaller one.
    while (this.#bytes > this.bounds.maxBytesPerPod) this.#dropOldest(this.#largestShelf());
  }

  /** All turns are kept equally long, so the map is in the order in which they expire. */
  #dropExpired(): void {
    const nowMs = this.#nowMs();
    for (const turn of this.#ended.values()) {
      if (turn.keptUntilMs > nowMs) return;
      this.#drop(turn);
    }
  }

  /** An idle pod forgets what was said as well. */
  #watchExpiry(): void {
    if (this.#expiry !== undefined || this.#ended.size === 0) return;
    this.#expiry = setTimeout(() => {
      this.#expiry = undefined;
      this.#dropExpired();
      this.#watchExpiry();
    }, this.bounds.windowMs);
    this.#expiry.unref();
  }

  #largestShelf(): Shelf | undefined {
    let largest: Shelf | undefined;
    for (const shelf of this.#shelves.values()) {
      if (shelf.bytes > (largest?.bytes ?? 0)) largest = shelf;
    }
    return largest;
  }

  #dropOldest(shelf: Shelf | undefined): void {
    const [oldest] = shelf?.turns ?? [];
    if (oldest !== undefined) this.#drop(oldest);
  }

  #drop(turn: EndedTurn): void {
    const { tenant } = turn.owner;
    this.#ended.delete(turn.log.turnId);
    this.#bytes -= turn.bytes;
    const shelf = this.#shelves.get(tenant);
    if (shelf === undefined) return;
    shelf.turns.delete(turn);
    shelf.bytes -= turn.bytes;
    if (shelf.turns.size === 0) this.#shelves.delete(tenant);
  }
}

function isSame(one: Owner, other: Owner): boolean {
  return one.tenant === other.tenant && one.user === other.user;
}
