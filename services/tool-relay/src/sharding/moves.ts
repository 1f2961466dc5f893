import type { ShardedDevice } from './shard-of.ts';
import type { PodShards } from './shards.ts';

/** A device session, as far as it can be moved. */
export interface Movable {
  /** Undefined unless the device is live and follows redirects. */
  readonly movable: ShardedDevice | undefined;
  /** The live device; also one that follows none. */
  readonly device: ShardedDevice | undefined;
  move(url: string): void;
}

export interface MovesOptions {
  readonly sessions: () => Iterable<Movable>;
  readonly shards: Pick<PodShards, 'belongsHere' | 'elsewhere'>;
  /** Arrivals at one pod, from all the others together. */
  readonly movesPerSecond: number;
  /** How many pods may move devices to the same one. */
  readonly otherPods: () => number;
  readonly monotonicMs: () => number;
}

const STEP_MS = 50;
/** Each takes some microseconds, and calls wait meanwhile. */
const LOOKS_PER_STEP = 500;
/** For devices that could not move, or were sent here because their pod could not be reached. */
const AGAIN_AFTER_MS = 60_000;

/** Moves live devices to the pods they belong to, at a bounded rate. */
export class Moves {
  readonly #options: MovesOptions;
  #left: Movable[] = [];
  #isMoving = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** When the next device may be told. */
  #nextMoveMs = 0;
  #seen = { devices: 0, outOfPlace: 0 };
  #figures = { devices: 0, outOfPlace: 0 };

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** The devices that the latest round looked at. */
  get figures(): { readonly devices: number; readonly outOfPlace: number } {
    return this.#figures;
  }

  /** Goes through all devices, from the beginning where a round is under way. */
  start(): void {
    if (this.#isClosed) return;
    this.#left = [...this.#options.sessions()];
    this.#seen = { devices: 0, outOfPlace: 0 };
    if (this.#isMoving) return;
    this.#isMoving = true;
    clearTimeout(this.#timer);
    this.#step();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#left = [];
  }

  #step(): void {
    for (let looks = 0; looks < LOOKS_PER_STEP; looks++) {
      const session = this.#left.at(-1);
      if (session === undefined) {
        this.#end();
        return;
      }
      if (!this.#look(session)) break;
      this.#left.pop();
    }
    this.#wait(STEP_MS, () => this.#step());
  }

  /** Returns false when it is not yet time to move another device. */
  #look(session: Movable): boolean {
    const { shards, movesPerSecond, otherPods, monotonicMs } = this.#options;
    const { device, movable } = session;
    if (device === undefined) return true;
    const url = movable && shards.elsewhere(movable);
    const nowMs = monotonicMs();
    if (url !== undefined && nowMs < this.#nextMoveMs) return false;
    this.#seen.devices += 1;
    if (!shards.belongsHere(device)) this.#seen.outOfPlace += 1;
    if (url === undefined) return true;
    // One step late is made up for, and no more.
    const everyMs = (1000 * Math.max(1, otherPods())) / movesPerSecond;
    this.#nextMoveMs = Math.max(this.#nextMoveMs, nowMs - STEP_MS) + everyMs;
    session.move(url);
    return true;
  }

  #end(): void {
    this.#isMoving = false;
    this.#figures = this.#seen;
    this.#wait(AGAIN_AFTER_MS, () => this.start());
  }

  #wait(delayMs: number, run: () => void): void {
    this.#timer = setTimeout(run, delayMs);
    this.#timer.unref();
  }
}
