import type { Allowance } from './allowance.ts';

/** A socket is read again when this much is refilled, so that it need not pause after every read. */
const REFILL_MS = 50;
/** What was read before a pause may be large; beyond this much at the peer's rate it is an attack. */
const MAX_DEBT_MS = 10_000;
/** Several results of the largest size at the smallest rate. */
const MAX_OVER_MS = 60_000;
/** A peer that stays within its rate for as long has caught up. */
const CAUGHT_UP_MS = 1000;

/** Whose rate was exceeded, or `share`: other tenants have their turn. */
export type PauseReason = 'device' | 'tenant' | 'share';

/** A socket whose engine may be able to stop reading it. */
interface Reader {
  /** Returns false where the engine cannot. */
  pause(): boolean;
  resume(): void;
}

export interface PaceOptions {
  readonly reader: Reader;
  readonly own: Allowance;
  readonly turns: Turns;
  readonly monotonicMs: () => number;
  readonly onPaused: (reason: PauseReason, ms: number) => void;
}

interface Pause {
  readonly reason: PauseReason;
  readonly sinceMs: number;
  isOverOwn: boolean;
  waitsForTurn: boolean;
  waitsForShare: boolean;
}

/** Slows a device down to its own rate and its tenant's by not reading its socket. */
export class Pace {
  readonly #options: PaceOptions;
  #pause: Pause | undefined;
  #timer: NodeJS.Timeout | undefined;
  #overSinceMs = 0;
  #lastOverMs = Number.NEGATIVE_INFINITY;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  get isPaused(): boolean {
    return this.#pause !== undefined;
  }

  /** The device is over its own rate. Returns false when it must go. */
  slowOwn(): boolean {
    const { own, monotonicMs } = this.#options;
    const nowMs = monotonicMs();
    if (nowMs - this.#lastOverMs > CAUGHT_UP_MS) this.#overSinceMs = nowMs;
    this.#lastOverMs = nowMs;
    const debtMs = own.debtMs(nowMs);
    if (debtMs > MAX_DEBT_MS || nowMs - this.#overSinceMs > MAX_OVER_MS) return false;
    const pause = this.#begin('device');
    if (pause === undefined) return false;
    pause.isOverOwn = true;
    this.#timer ??= setTimeout(() => this.#refilled(), debtMs + REFILL_MS);
    return true;
  }

  /** The tenant is over its rate. Returns false when the engine cannot wait. */
  slowTenant(): boolean {
    const pause = this.#begin('tenant');
    if (pause === undefined) return false;
    pause.waitsForTurn = true;
    this.#options.turns.wait(this);
    return true;
  }

  /** The tenant has had its share for now. Returns false when the engine cannot wait. */
  waitForShare(): boolean {
    const pause = this.#begin('share');
    if (pause !== undefined) pause.waitsForShare = true;
    return pause !== undefined;
  }

  /** Returns whether it waited. */
  takeShare(): boolean {
    const { waitsForShare = false } = this.#pause ?? {};
    if (this.#pause !== undefined) this.#pause.waitsForShare = false;
    this.#settle();
    return waitsForShare;
  }

  takeTurn(): void {
    if (this.#pause !== undefined) this.#pause.waitsForTurn = false;
    this.#settle();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#options.turns.leave(this);
    this.#count();
  }

  #begin(reason: PauseReason): Pause | undefined {
    if (this.#pause !== undefined) return this.#pause;
    const { reader, monotonicMs } = this.#options;
    if (!reader.pause()) return undefined;
    const waits = { isOverOwn: false, waitsForTurn: false, waitsForShare: false };
    this.#pause = { reason, sinceMs: monotonicMs(), ...waits };
    return this.#pause;
  }

  #refilled(): void {
    const { own, monotonicMs } = this.#options;
    const nowMs = monotonicMs();
    const debtMs = own.debtMs(nowMs);
    this.#lastOverMs = nowMs;
    // More was delivered after the pause began.
    this.#timer = debtMs > 0 ? setTimeout(() => this.#refilled(), debtMs + REFILL_MS) : undefined;
    if (this.#pause !== undefined) this.#pause.isOverOwn = debtMs > 0;
    this.#settle();
  }

  #settle(): void {
    const pause = this.#pause;
    if (pause === undefined || pause.isOverOwn || pause.waitsForTurn || pause.waitsForShare) return;
    this.#count();
    this.#options.reader.resume();
  }

  #count(): void {
    const pause = this.#pause;
    if (pause === undefined) return;
    this.#pause = undefined;
    const { monotonicMs, onPaused } = this.#options;
    onPaused(pause.reason, monotonicMs() - pause.sinceMs);
  }
}

/** The devices that wait until their tenant may send again: one is read at a time, the first first. */
export class Turns {
  readonly #allowance: Allowance;
  readonly #monotonicMs: () => number;
  readonly #waiting = new Set<Pick<Pace, 'takeTurn'>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(allowance: Allowance, monotonicMs: () => number) {
    this.#allowance = allowance;
    this.#monotonicMs = monotonicMs;
  }

  wait(pace: Pick<Pace, 'takeTurn'>): void {
    this.#waiting.add(pace);
    this.#timer ??= setTimeout(() => this.#next(), this.#waitMs());
  }

  leave(pace: Pick<Pace, 'takeTurn'>): void {
    this.#waiting.delete(pace);
    if (this.#waiting.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #next(): void {
    this.#timer = undefined;
    const [first] = this.#waiting;
    if (first === undefined) return;
    if (this.#allowance.debtMs(this.#monotonicMs()) === 0) {
      this.#waiting.delete(first);
      first.takeTurn();
    }
    if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => this.#next(), this.#waitMs());
  }

  #waitMs(): number {
    return Math.max(1, this.#allowance.debtMs(this.#monotonicMs()));
  }
}
