import type { CallOptions, NestedTask } from '../ports.ts';
import { NOTHING_SPENT, type Reservation, TokenBudget, type TokenLimits } from './budget.ts';
import type { TurnEnd } from './turn.ts';

export interface NestedTurnsOptions {
  /** What all turns of the call together may spend. */
  readonly share: TokenLimits;
  /** Of the outer turn, which pays. */
  readonly budget: TokenBudget;
  readonly run: (task: NestedTask, left: TokenLimits, signal: AbortSignal) => Promise<TurnEnd>;
}

/** Starts turns inside one call. */
export function nestedTurns({
  share,
  budget,
  run,
}: NestedTurnsOptions): NonNullable<CallOptions['startTurn']> {
  const allowance = new TokenBudget(share);
  const charge = (usage: Reservation) => {
    allowance.chargeNested(usage);
    budget.chargeNested(usage);
  };
  return async (task, signal) => {
    const left = allowance.shareAmong(1);
    // Set aside until it ends, because a call may start another one meanwhile.
    const aside = setAside(left);
    charge(aside);
    let used = NOTHING_SPENT;
    try {
      const { state, happened, answer, usage } = await run(task, left, signal);
      used = usage;
      if (state.at === 'done') return { outcome: 'done', happened, text: answer };
      return { outcome: state.at, happened, text: '', error: state.error };
    } finally {
      charge({
        ...used,
        inputTokens: used.inputTokens - aside.inputTokens,
        outputTokens: used.outputTokens - aside.outputTokens,
        costNanoUsd: used.costNanoUsd - aside.costNanoUsd,
      });
    }
  };
}

function setAside({ maxInputTokens, maxOutputTokens, maxCostNanoUsd }: TokenLimits): Reservation {
  return {
    inputTokens: maxInputTokens,
    outputTokens: maxOutputTokens,
    costNanoUsd: Number.isFinite(maxCostNanoUsd) ? maxCostNanoUsd : 0,
  };
}
