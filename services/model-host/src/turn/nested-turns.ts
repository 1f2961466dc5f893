import type { CallOptions } from '../ports.ts';
import { TokenBudget, type TokenLimits, type TokenUsage } from './budget.ts';
import type { TurnEnd } from './turn.ts';

export interface NestedTurnsOptions {
  /** What all turns of the call together may spend. */
  readonly share: TokenLimits;
  /** Of the outer turn, which pays. */
  readonly budget: TokenBudget;
  readonly run: (text: string, left: TokenLimits, signal: AbortSignal) => Promise<TurnEnd>;
}

/** Starts turns inside one call. */
export function nestedTurns({
  share,
  budget,
  run,
}: NestedTurnsOptions): NonNullable<CallOptions['startTurn']> {
  const allowance = new TokenBudget(share);
  const charge = (usage: TokenUsage) => {
    allowance.chargeNested(usage);
    budget.chargeNested(usage);
  };
  return async (text, signal) => {
    const left = allowance.shareAmong(1);
    // Set aside until it ends, because a call may start another one meanwhile.
    charge({ inputTokens: left.maxInputTokens, outputTokens: left.maxOutputTokens });
    const { state, happened, answer, usage } = await run(text, left, signal);
    charge({
      ...usage,
      inputTokens: usage.inputTokens - left.maxInputTokens,
      outputTokens: usage.outputTokens - left.maxOutputTokens,
    });
    if (state.at !== 'done') return { outcome: state.at, happened, text: '', error: state.error };
    return { outcome: 'done', happened, text: answer };
  };
}
