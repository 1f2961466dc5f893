/** An event without an object of its own: a million may be pending. */
export interface SimEvent {
  atMs: number;
  kind: number;
  /** A device or a pod. */
  subject: number;
  /** The attempt it belongs to; events of an attempt that is over are dropped. */
  attempt: number;
}

const FIRST_CAPACITY = 1024;
const ARITY = 4;
/** 26 bits of an attempt would be enough for weeks of dialling; kinds are few. */
const KIND_BITS = 5;

/** A four-ary heap in typed arrays. Events of the same time leave in the order in which they came. */
export class EventQueue {
  #times = new Float64Array(FIRST_CAPACITY);
  #orders = new Float64Array(FIRST_CAPACITY);
  #subjects = new Int32Array(FIRST_CAPACITY);
  #tags = new Uint32Array(FIRST_CAPACITY);
  #size = 0;
  #pushed = 0;
  #peak = 0;

  get size(): number {
    return this.#size;
  }

  /** The most events that were pending at one time. */
  get peak(): number {
    return this.#peak;
  }

  push({ atMs, kind, subject, attempt }: SimEvent): void {
    if (this.#size === this.#times.length) this.#grow();
    const order = this.#pushed;
    this.#pushed += 1;
    let hole = this.#size;
    this.#size += 1;
    this.#peak = Math.max(this.#peak, this.#size);
    while (hole > 0) {
      const parent = Math.floor((hole - 1) / ARITY);
      if (!this.#isBefore(atMs, order, parent)) break;
      this.#copy(parent, hole);
      hole = parent;
    }
    this.#put(hole, atMs, order);
    this.#subjects[hole] = subject;
    this.#tags[hole] = ((attempt << KIND_BITS) | kind) >>> 0;
  }

  /** Writes the earliest event into the given object; returns false when none is left. */
  pop(into: SimEvent): boolean {
    if (this.#size === 0) return false;
    const tag = this.#tags[0] ?? 0;
    into.atMs = this.#times[0] ?? 0;
    into.subject = this.#subjects[0] ?? 0;
    into.kind = tag & ((1 << KIND_BITS) - 1);
    into.attempt = tag >>> KIND_BITS;
    this.#size -= 1;
    this.#sink(this.#size);
    return true;
  }

  /** Finds the place of the last event, which has lost its own. */
  #sink(last: number): void {
    const atMs = this.#times[last] ?? 0;
    const order = this.#orders[last] ?? 0;
    let hole = 0;
    for (;;) {
      const child = this.#earliestChild(hole);
      if (child === undefined || this.#isBefore(atMs, order, child)) break;
      this.#copy(child, hole);
      hole = child;
    }
    this.#copy(last, hole);
  }

  #earliestChild(parent: number): number | undefined {
    const first = parent * ARITY + 1;
    if (first >= this.#size) return undefined;
    let earliest = first;
    const end = Math.min(first + ARITY, this.#size);
    for (let child = first + 1; child < end; child++) {
      if (this.#isBefore(this.#times[child] ?? 0, this.#orders[child] ?? 0, earliest)) {
        earliest = child;
      }
    }
    return earliest;
  }

  #isBefore(atMs: number, order: number, place: number): boolean {
    const otherMs = this.#times[place] ?? 0;
    return atMs < otherMs || (atMs === otherMs && order < (this.#orders[place] ?? 0));
  }

  #copy(from: number, to: number): void {
    this.#put(to, this.#times[from] ?? 0, this.#orders[from] ?? 0);
    this.#subjects[to] = this.#subjects[from] ?? 0;
    this.#tags[to] = this.#tags[from] ?? 0;
  }

  #put(place: number, atMs: number, order: number): void {
    this.#times[place] = atMs;
    this.#orders[place] = order;
  }

  #grow(): void {
    const capacity = this.#times.length * 2;
    const grown = <T extends { set(from: T): void }>(into: T, from: T): T => {
      into.set(from);
      return into;
    };
    this.#times = grown(new Float64Array(capacity), this.#times);
    this.#orders = grown(new Float64Array(capacity), this.#orders);
    this.#subjects = grown(new Int32Array(capacity), this.#subjects);
    this.#tags = grown(new Uint32Array(capacity), this.#tags);
  }
}
