/** Pings are spread over the interval, so that no tick pings every socket. */
const SLOTS = 16;
/** A peer that misses this many beats is dead. */
export const MAX_MISSED_BEATS = 2;

export interface Pulse {
  /** Called once per interval. */
  beat(): void;
}

/** One timer for all sockets: a timer each would cost more than the rest of an idle socket. */
export class Heartbeat {
  readonly tickMs: number;
  readonly #slots: readonly Set<Pulse>[] = Array.from({ length: SLOTS }, () => new Set<Pulse>());
  #nextJoined = 0;
  #nextBeaten = 0;

  constructor(intervalMs: number) {
    this.tickMs = intervalMs / SLOTS;
  }

  /** Returns the slot to pass to leave(). */
  join(pulse: Pulse): number {
    const slot = this.#nextJoined;
    this.#nextJoined = (slot + 1) % SLOTS;
    this.#slots[slot]?.add(pulse);
    return slot;
  }

  leave(pulse: Pulse, slot: number): void {
    this.#slots[slot]?.delete(pulse);
  }

  tick(): void {
    const slot = this.#slots[this.#nextBeaten];
    this.#nextBeaten = (this.#nextBeaten + 1) % SLOTS;
    for (const pulse of slot ?? []) pulse.beat();
  }
}
