import type { Identity } from '@zerolatency/identity';
import { Refusal } from './refusal.ts';
import { type SlotLimits, Slots } from './slots.ts';

export interface QueueSettings {
  /** Turns that may wait. */
  readonly turns: number;
  readonly maxWaitMs: number;
  /** Of a tenant; 1 where it has none. */
  readonly weights: Readonly<Record<string, number>>;
}

export interface TurnSlotsOptions {
  readonly limits: SlotLimits;
  readonly queue: QueueSettings;
  readonly onWaited?: (seconds: number, outcome: 'granted' | 'expired' | 'left') => void;
}

/** A turn's place in this pod: its slot, or its place in the queue for one. */
export interface Place {
  /** Resolves with its wait in ms, once it has a slot. @throws limit.exceeded, or the reason of the signal. */
  slot(signal: AbortSignal): Promise<number>;
  /** Calling it again does nothing. */
  leave(): void;
}

interface Waiting {
  readonly tenant: string;
  grant(): void;
}

/**
 * The slots for turns. Where all are taken, turns wait, and slots go round the tenants by weight,
 * whatever each has waiting. A turn that waits counts for the limits of its tenant and its user.
 */
export class TurnSlots {
  readonly #options: TurnSlotsOptions;
  readonly #slots: Slots;
  readonly #expired: Refusal;
  /** Of each tenant in order of arrival. */
  readonly #queues = new Map<string, Set<Waiting>>();
  /** When a tenant's next turn is due, in rounds: weighted fair queueing. */
  readonly #due = new Map<string, number>();
  #round = 0;
  #running = 0;
  #waiting = 0;

  constructor(options: TurnSlotsOptions) {
    const { limits, queue } = options;
    this.#options = options;
    this.#slots = new Slots('turns', limits, { queued: queue.turns });
    const settings = `limits.turnsPerPod is ${limits.Pod} and limits.queue.maxWait is ${queue.maxWaitMs} ms`;
    this.#expired = new Refusal(`no slot for a turn became free in time, ${settings}`);
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** @throws limit.exceeded where neither a slot nor a place in the queue is free. */
  assertFree(owner: Pick<Identity, 'tenant' | 'user'>): void {
    this.#slots.assertFree(owner);
  }

  /** @throws limit.exceeded */
  enter(owner: Pick<Identity, 'tenant' | 'user'>): Place {
    const giveBack = this.#slots.take(owner);
    let hasSlot = false;
    let isLeft = false;
    return {
      slot: async (signal) => {
        if (this.#running < this.#options.limits.Pod) {
          this.#running += 1;
          hasSlot = true;
          return 0;
        }
        const waitedMs = await this.#wait(owner.tenant, signal);
        hasSlot = true;
        // Its turn has gone in the same moment.
        if (isLeft) this.#release();
        return waitedMs;
      },
      leave: () => {
        if (isLeft) return;
        isLeft = true;
        giveBack();
        if (hasSlot) this.#release();
      },
    };
  }

  async #wait(tenant: string, signal: AbortSignal): Promise<number> {
    const { onWaited, limits, queue } = this.#options;
    const startedMs = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { tenant, grant: resolve };
    const onAbort = () => reject(signal.reason);
    const onLate = () => {
      const ahead = 1 + this.#waiting / limits.Pod;
      reject(this.#expired.after(this.#slots.freeAfterMs(limits.Pod) * ahead));
    };
    signal.throwIfAborted();
    const timer = setTimeout(onLate, queue.maxWaitMs);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#add(waiting);
    let outcome: 'granted' | 'expired' | 'left' = 'granted';
    try {
      await promise;
      return performance.now() - startedMs;
    } catch (reason) {
      outcome = signal.aborted ? 'left' : 'expired';
      // It was granted in the same moment.
      if (!this.#remove(waiting)) this.#release();
      throw reason;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      onWaited?.((performance.now() - startedMs) / 1000, outcome);
    }
  }

  #add(waiting: Waiting): void {
    const { tenant } = waiting;
    const queue = this.#queues.get(tenant) ?? new Set();
    if (queue.size === 0) {
      this.#due.set(tenant, Math.max(this.#due.get(tenant) ?? 0, this.#round));
    }
    this.#queues.set(tenant, queue.add(waiting));
    this.#waiting += 1;
  }

  #remove(waiting: Waiting): boolean {
    const queue = this.#queues.get(waiting.tenant);
    if (queue?.delete(waiting) !== true) return false;
    if (queue.size === 0) this.#queues.delete(waiting.tenant);
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#startAnew();
    return true;
  }

  /** Passes the slot on to the tenant that is due first. */
  #release(): void {
    let first: string | undefined;
    let firstDue = Number.POSITIVE_INFINITY;
    for (const tenant of this.#queues.keys()) {
      const due = this.#due.get(tenant) ?? 0;
      if (due < firstDue) [first, firstDue] = [tenant, due];
    }
    const [next] = (first === undefined ? undefined : this.#queues.get(first)) ?? [];
    if (next === undefined || first === undefined) {
      this.#running -= 1;
      return;
    }
    this.#round = firstDue;
    this.#due.set(first, firstDue + 1 / (this.#options.queue.weights[first] ?? 1));
    this.#remove(next);
    this.#forgetServed();
    next.grant();
  }

  /** A tenant that comes back before its due time has had its share of this round. */
  #forgetServed(): void {
    if (this.#due.size <= 2 * this.#queues.size + 16) return;
    for (const [tenant, due] of this.#due) {
      if (due <= this.#round && !this.#queues.has(tenant)) this.#due.delete(tenant);
    }
  }

  #startAnew(): void {
    this.#due.clear();
    this.#round = 0;
  }
}
