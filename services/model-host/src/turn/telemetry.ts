import type { ZlError } from '@zerolatency/errors';
import type { Target } from '../providers/models.ts';
import type { ModelTarget } from '../providers/prices.ts';
import type { SpentTokens } from './budget.ts';
import type { Critique } from './critic.ts';
import type { EndState, TurnState } from './state.ts';
import type { FaultPlace } from './tool-step.ts';

export interface TurnEndDetails {
  readonly auditId: string;
  readonly usage: SpentTokens;
  /** Of the last reply; undefined when there was none. */
  readonly answered: Target | undefined;
}

/** Where a turn reports what operators watch: metrics, spans and logs. */
export interface TurnObserver {
  /** Called at each transition, with the state that was left. */
  entered(state: TurnState, left: TurnState): void;
  firstToken(figures: FirstToken): void;
  /** A reply began, so many seconds after the request. */
  providerBegan(target: Target, seconds: number): void;
  /** Each request to a provider, whether it began to answer or not. */
  providerEnded(target: Target, outcome: 'done' | 'failed' | 'cancelled', errorId: string): void;
  /** A reply was charged; costNanoUsd is undefined when its model has no price. */
  charged(target: ModelTarget, costNanoUsd: number | undefined): void;
  /** A request that failed goes to another target, or to the same one again. */
  fellBack(error: ZlError, from: Target, to: Target): void;
  critiqued(critique: Critique): void;
  /** A reply asks for tools in a form that cannot be read, and its model is prompted again. */
  unreadable(place: FaultPlace): void;
  /** The record of a failed or cancelled turn could not be written. */
  unrecorded(reason: unknown): void;
  ended(state: EndState, details: TurnEndDetails): void;
}

export interface FirstToken {
  readonly seconds: number;
  /** Without the waits for the provider and for tools. */
  readonly addedSeconds: number;
}

export class TurnClock {
  readonly #startedMs: number;
  readonly queuedUs: number;
  #firstTextUs: number | undefined;
  /** Spent in the queue, on model calls and tools before the first text. */
  #waitedMs: number;

  constructor(queuedMs = 0) {
    this.#startedMs = performance.now() - queuedMs;
    this.#waitedMs = queuedMs;
    this.queuedUs = queuedMs * 1000;
  }

  get firstTextUs(): number {
    return this.#firstTextUs ?? 0;
  }

  get totalUs(): number {
    return this.#sinceStartUs();
  }

  async waited<T>(work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const result = await work();
    this.#waitedMs += performance.now() - startedMs;
    return result;
  }

  /** Defined for the first text of the turn only. */
  firstText(providerWaitMs: number): FirstToken | undefined {
    if (this.#firstTextUs !== undefined) return undefined;
    this.#firstTextUs = this.#sinceStartUs();
    const seconds = this.#firstTextUs / 1e6;
    const addedSeconds = Math.max(0, seconds - (this.#waitedMs + providerWaitMs) / 1000);
    return { seconds, addedSeconds };
  }

  #sinceStartUs(): number {
    return Math.round((performance.now() - this.#startedMs) * 1000);
  }
}
