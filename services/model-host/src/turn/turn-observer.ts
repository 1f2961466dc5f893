import type { TokenUsage } from '../providers/port.ts';
import type { EndState, TurnState } from './state.ts';
import type { FirstToken } from './turn-clock.ts';

export interface TurnEndDetails {
  readonly auditId: string;
  readonly usage: TokenUsage;
}

/** Where a turn tells what operators watch: metrics, spans and logs. */
export interface TurnObserver {
  /** Called at each transition, with the state that was left. */
  entered(state: TurnState, left: TurnState): void;
  firstToken(figures: FirstToken): void;
  /** A provider gave the first text or tool call of a reply, so long after it was asked. */
  providerBegan(seconds: number): void;
  /** Each request to a provider, whether it began to answer or not. */
  providerEnded(outcome: 'done' | 'failed' | 'cancelled', errorId: string): void;
  /** The record of a failed or cancelled turn could not be written. */
  unrecorded(reason: unknown): void;
  ended(state: EndState, details: TurnEndDetails): void;
}
