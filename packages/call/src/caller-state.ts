import { ZlError } from '@zerolatency/errors';
import type { Outcome } from '@zerolatency/receipts';
import type { CallerOutcome } from './call.ts';

type OpenName = 'validated' | 'sent' | 'running' | 'resuming';

export type CallerStateName = OpenName | Outcome;

export type CallerState =
  | { readonly name: OpenName }
  | { readonly name: Outcome; readonly outcome: CallerOutcome };

const ENDS = ['done', 'failed', 'denied', 'cancelled', 'unknown'] as const;

/**
 *   validated --route--> sent --heard--> running <--heard / silence, cut--> resuming
 *       |                 ^                 |                                  |
 *       |                 +---- not seen by the same journal: call again ------+
 *       v                                   v                                  v
 *   failed, cancelled             done | failed | denied | cancelled | unknown
 *
 * A call that an earlier run of the host may have sent starts in resuming.
 */
const NEXT: Record<OpenName, readonly CallerStateName[]> = {
  validated: ['sent', 'failed', 'cancelled'],
  sent: ['sent', 'running', 'resuming', ...ENDS],
  running: ['sent', 'running', 'resuming', ...ENDS],
  resuming: ['sent', 'running', 'resuming', ...ENDS],
};

/** Returns the next state; throws when the call cannot go there. */
export function transition(now: CallerState, next: CallerState): CallerState {
  if (isSettled(now) || !NEXT[now.name].includes(next.name)) {
    throw new ZlError('internal', `a call cannot go from ${now.name} to ${next.name}`);
  }
  return next;
}

export function isSettled(
  state: CallerState,
): state is Extract<CallerState, { outcome: CallerOutcome }> {
  return 'outcome' in state;
}
