/** What a frame costs the relay is counted in small frames; one with so many bytes takes twice as long. */
const BYTES_PER_UNIT = 8 * 1024;
/** What a device sends after its socket is read again. */
const UNITS_PER_RESUME = 2;
/** Handled of one tenant before the other sockets are looked at: about 200 microseconds. */
const QUANTUM_UNITS = 16;
/** A tenant that sent nothing for as long waits for nothing. */
const ACTIVE_MS = 1000;
/** Held for all tenants together. What is read beyond it is passed on out of turn. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;
/** What a held frame costs beside its bytes. */
const HELD_OVERHEAD_BYTES = 200;

/** A device with held frames. */
export interface Sender {
  /** Passes on the next frame. Returns its size, or undefined when there is none. */
  passNext(): number | undefined;
  /** Nothing is held any more. Returns whether its socket was not read meanwhile. */
  resume(): boolean;
}

/**
 * Weighted fair queueing of what devices send, by tenant. A tenant that is active alone is never held up.
 * While several are, each has a quantum in every turn of the event loop. What it sends beyond that is
 * held and passed on by deficit round robin, a quantum in each turn, so that the frames of the others
 * wait for no more than that.
 */
export class FairShares {
  readonly #monotonicMs: () => number;
  /** Tenants with held frames; the first has the turn. */
  readonly #line = new Set<TenantShare>();
  #turn = 0;
  #isScheduled = false;
  #heldBytes = 0;
  /** Tenants that were active in this span of time, and how many were in the one before. */
  #active = new Set<TenantShare>();
  #activeBefore = 0;
  #activeSinceMs = Number.NEGATIVE_INFINITY;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  tenant(weight = 1): TenantShare {
    return new TenantShare(this, weight * QUANTUM_UNITS);
  }

  /** The turn of the event loop. */
  get turn(): number {
    return this.#turn;
  }

  get mayHold(): boolean {
    return this.#heldBytes < MAX_HELD_BYTES;
  }

  /** Notes that the tenant is active. Returns whether another one is. */
  isContended(share: TenantShare): boolean {
    const passedMs = this.#monotonicMs() - this.#activeSinceMs;
    if (passedMs >= ACTIVE_MS) {
      this.#activeBefore = passedMs < 2 * ACTIVE_MS ? this.#active.size : 0;
      this.#active = new Set();
      this.#activeSinceMs = this.#monotonicMs();
    }
    this.#active.add(share);
    const isContended = this.#active.size > 1 || this.#activeBefore > 1;
    if (isContended) this.#schedule();
    return isContended;
  }

  held(bytes: number): void {
    this.#heldBytes += bytes;
  }

  join(share: TenantShare): void {
    this.#line.add(share);
    this.#schedule();
  }

  leave(share: TenantShare): void {
    this.#line.delete(share);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#serve());
  }

  #serve(): void {
    this.#isScheduled = false;
    this.#turn += 1;
    let left = QUANTUM_UNITS;
    for (const share of [...this.#line]) {
      if (left <= 0) break;
      const { used, isOver } = share.serve(left);
      left -= used;
      if (!isOver) continue;
      this.#line.delete(share);
      if (share.isWaiting) this.#line.add(share);
    }
    if (this.#line.size > 0) this.#schedule();
  }
}

/** What one tenant may have handled, and its devices that wait. */
export class TenantShare {
  readonly #shares: FairShares;
  readonly #quantum: number;
  /** Each has one frame passed on in its turn. */
  readonly #senders = new Set<Sender>();
  #turn = 0;
  #usedInTurn = 0;
  #deficit = 0;

  constructor(shares: FairShares, quantum: number) {
    this.#shares = shares;
    this.#quantum = quantum;
  }

  get isWaiting(): boolean {
    return this.#senders.size > 0;
  }

  get mayHold(): boolean {
    return this.#shares.mayHold;
  }

  /** A host calls a device of the tenant. */
  noteActive(): void {
    this.#shares.isContended(this);
  }

  /** Returns false when the frame has to wait. */
  takeFrame(bytes: number): boolean {
    if (!this.#shares.isContended(this)) return !this.isWaiting;
    if (this.#turn !== this.#shares.turn) this.#usedInTurn = 0;
    this.#turn = this.#shares.turn;
    if (this.isWaiting || this.#usedInTurn >= this.#quantum) return false;
    this.#usedInTurn += unitsOf(bytes);
    return true;
  }

  /** A frame of the sender is held. */
  hold(sender: Sender, bytes: number): void {
    this.#shares.held(bytes + HELD_OVERHEAD_BYTES);
    this.#senders.add(sender);
    this.#shares.join(this);
  }

  released(bytes: number): void {
    this.#shares.held(-bytes - HELD_OVERHEAD_BYTES);
  }

  leave(sender: Sender): void {
    this.#senders.delete(sender);
    if (!this.isWaiting) this.#shares.leave(this);
  }

  /** Passes on what is worth as many units; less at the end of its turn. */
  serve(maxUnits: number): { readonly used: number; readonly isOver: boolean } {
    if (this.#deficit <= 0) this.#deficit += this.#quantum;
    let used = 0;
    while (used < maxUnits && used < this.#deficit && this.isWaiting) used += this.#serveNext();
    this.#deficit = this.isWaiting ? this.#deficit - used : 0;
    return { used, isOver: this.#deficit <= 0 };
  }

  #serveNext(): number {
    const [sender] = this.#senders;
    if (sender === undefined) return 0;
    this.#senders.delete(sender);
    const bytes = sender.passNext();
    if (bytes === undefined) return sender.resume() ? UNITS_PER_RESUME : 0;
    this.#senders.add(sender);
    return unitsOf(bytes);
  }
}

function unitsOf(bytes: number): number {
  return 1 + bytes / BYTES_PER_UNIT;
}
