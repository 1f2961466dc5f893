import type { TokenUsage } from '../providers/port.ts';
import type { EndState, TurnState } from './state.ts';

export interface TurnEndDetails {
  readonly auditId: string;
  readonly usage: TokenUsage;
  /** Deltas that went into another because the reader was slow. */
  readonly mergedDeltas: number;
}

/** Where a turn tells what operators watch: metrics, spans and logs. */
export interface TurnObserver {
  /** Called at each transition, with the state that was left. */
  entered(state: TurnState, left: TurnState): void;
  /** `added` is what is left when the waits for the provider and for tools are taken off. */
  firstToken(figures: { readonly seconds: number; readonly addedSeconds: number }): void;
  /** The record of a failed or cancelled turn could not be written. */
  unrecorded(reason: unknown): void;
  ended(state: EndState, details: TurnEndDetails): void;
}
