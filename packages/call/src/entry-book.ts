import type { CalleeEntry } from './callee-entry.ts';
import type { Journal } from './journal.ts';

/** Each sweep costs an fsync, so entries are forgotten many at a time. */
const MIN_SWEEP_GAP_MS = 1_000;

/** All the entries of a callee, and when to forget them (rule 5). */
export class EntryBook {
  readonly #journal: Journal;
  readonly #retentionMs: number;
  readonly #entries = new Map<string, CalleeEntry>();
  readonly #unsettled = new Set<CalleeEntry>();
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(journal: Journal, retentionMs: number) {
    this.#journal = journal;
    this.#retentionMs = retentionMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Calls without a persisted outcome. */
  get running(): number {
    return this.#unsettled.size;
  }

  get(callId: string): CalleeEntry | undefined {
    return this.#entries.get(callId);
  }

  add(entry: CalleeEntry): void {
    this.#entries.set(entry.callId, entry);
    if (!entry.isSettled) this.#unsettled.add(entry);
    this.#sweepAtMs = Math.min(this.#sweepAtMs, entry.deadlineMs + this.#retentionMs);
  }

  settled(entry: CalleeEntry): void {
    this.#unsettled.delete(entry);
  }

  /** Calls that still run after their deadline. */
  expired(nowMs: number): CalleeEntry[] {
    return [...this.#unsettled].filter((entry) => entry.isRunning && entry.deadlineMs <= nowMs);
  }

  get nextWakeMs(): number {
    let wakeMs = this.#sweepAtMs;
    for (const { isRunning, deadlineMs } of this.#unsettled) {
      if (isRunning) wakeMs = Math.min(wakeMs, deadlineMs);
    }
    return wakeMs;
  }

  /** Forgets what is long past its deadline; gives the entries back, for what they still hold. */
  sweep(nowMs: number): CalleeEntry[] {
    if (nowMs < this.#sweepAtMs) return [];
    const past = [...this.#entries.values()].filter(
      (entry) => entry.isSettled && entry.deadlineMs + this.#retentionMs <= nowMs,
    );
    if (past.length > 0) this.#forget(past);
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const { deadlineMs } of this.#entries.values()) {
      earliestMs = Math.min(earliestMs, deadlineMs + this.#retentionMs);
    }
    this.#sweepAtMs = Math.max(earliestMs, nowMs + MIN_SWEEP_GAP_MS);
    return past;
  }

  /** The watermark is the latest deadline forgotten, so that it refuses no more than it must. */
  #forget(past: CalleeEntry[]): void {
    let watermarkMs = 0;
    for (const { deadlineMs } of past) watermarkMs = Math.max(watermarkMs, deadlineMs);
    this.#journal.forget(watermarkMs);
    for (const { callId } of past) this.#entries.delete(callId);
  }
}
