import { ZlError } from '@zerolatency/errors';
import type { Critic } from '../providers/models.ts';
import type { TurnLimits } from './budget.ts';

/**
 * The turn, without I/O.
 *
 *               begin                answered               recorded
 *   admitted ----------> planning ---------------> responding ------> done
 *                        |  ^  |                      ^   |
 *             unparsable +--+  | asked                |   |
 *                              v        acted         |   |
 *                            acting ----------> reflecting|
 *                              ^                 |  ^  |  |
 *                              +-----------------+  +--+  |
 *                                    asked     unparsable |
 *                                                         |
 *   every state but the last three -- stopped --> failed | cancelled
 *
 * planning and reflecting are one model call each, acting is the tool calls it
 * asked for, responding writes the record that has to be durable before the
 * answer is called done.
 *
 * With a critic, an answer goes
 *
 *                            answered                accepted
 *   planning | reflecting ------------> critiquing ------------> responding
 *                  ^                        |
 *                  +------------------------+
 *                           rejected
 *
 * A call that a person makes without a model goes
 *
 *            asked          answered              recorded
 *   admitted -----> acting ----------> responding ---------> done
 */
export type TurnState =
  | { readonly at: 'admitted' }
  | { readonly at: 'planning'; readonly step: number; readonly reprompts: number }
  | { readonly at: 'acting'; readonly step: number; readonly calls: number }
  | { readonly at: 'reflecting'; readonly step: number; readonly reprompts: number }
  | { readonly at: 'critiquing'; readonly step: number; readonly critic: Critic }
  | { readonly at: 'responding'; readonly step: number }
  | { readonly at: 'done'; readonly step: number }
  | { readonly at: 'failed'; readonly step: number; readonly error: ZlError }
  | { readonly at: 'cancelled'; readonly step: number; readonly error: ZlError };

export type EndState = Extract<TurnState, { at: 'done' | 'failed' | 'cancelled' }>;

export type TurnInput =
  | { readonly type: 'begin' }
  /** With a critic that is to judge the answer first. */
  | { readonly type: 'answered'; readonly critic?: Critic | undefined }
  | { readonly type: 'accepted' }
  | { readonly type: 'rejected' }
  | { readonly type: 'asked'; readonly calls: number; readonly depth: number }
  | { readonly type: 'unparsable'; readonly reason: string }
  | { readonly type: 'acted' }
  | { readonly type: 'recorded' }
  | { readonly type: 'stopped'; readonly error: ZlError };

/** How often a model is prompted again after unreadable tool calls before the turn fails. */
export const MAX_REPROMPTS = 2;

export const ADMITTED: TurnState = { at: 'admitted' };

export function isEnd(state: TurnState): state is EndState {
  return state.at === 'done' || state.at === 'failed' || state.at === 'cancelled';
}

export function transition(state: TurnState, input: TurnInput, limits: TurnLimits): TurnState {
  if (input.type === 'stopped') return isEnd(state) ? state : stop(stepOf(state), input.error);
  switch (state.at) {
    case 'admitted':
      if (input.type === 'begin') return { at: 'planning', step: 1, reprompts: 0 };
      if (input.type === 'asked') return act(0, input, limits);
      break;
    case 'planning':
    case 'reflecting':
      if (input.type === 'answered') {
        const { critic } = input;
        if (critic === undefined) return { at: 'responding', step: state.step };
        return { at: 'critiquing', step: state.step, critic };
      }
      if (input.type === 'asked') return act(state.step, input, limits);
      if (input.type === 'unparsable') return repromptModel(state, input.reason, limits);
      break;
    case 'acting':
      if (input.type === 'answered') return { at: 'responding', step: state.step };
      if (input.type === 'acted') return { at: 'reflecting', step: state.step + 1, reprompts: 0 };
      break;
    case 'critiquing':
      if (input.type === 'accepted') return { at: 'responding', step: state.step };
      if (input.type === 'rejected') {
        if (state.step >= limits.maxSteps) return stop(state.step, tooManySteps(limits));
        return { at: 'reflecting', step: state.step + 1, reprompts: 0 };
      }
      break;
    case 'responding':
      if (input.type === 'recorded') return { at: 'done', step: state.step };
      break;
  }
  throw new ZlError('internal', `a turn that is ${state.at} cannot take ${input.type}`);
}

export function stepOf(state: TurnState): number {
  return state.at === 'admitted' ? 0 : state.step;
}

function act(
  step: number,
  asked: Extract<TurnInput, { type: 'asked' }>,
  limits: TurnLimits,
): TurnState {
  if (asked.depth > limits.maxToolDepth) {
    return stop(
      step,
      new ZlError(
        'budget.depth',
        `tool calls may nest ${limits.maxToolDepth} deep (max_tool_depth)`,
      ),
    );
  }
  // A tool must not run when no model call could read its result.
  if (step >= limits.maxSteps) return stop(step, tooManySteps(limits));
  return { at: 'acting', step, calls: asked.calls };
}

function repromptModel(
  state: Extract<TurnState, { reprompts: number }>,
  reason: string,
  limits: TurnLimits,
): TurnState {
  if (state.reprompts >= MAX_REPROMPTS) {
    return stop(state.step, new ZlError('provider.unparsable', reason));
  }
  if (state.step >= limits.maxSteps) return stop(state.step, tooManySteps(limits));
  return { at: state.at, step: state.step + 1, reprompts: state.reprompts + 1 };
}

function tooManySteps(limits: TurnLimits): ZlError {
  return new ZlError('budget.steps', `more than ${limits.maxSteps} steps (max_steps)`);
}

function stop(step: number, error: ZlError): EndState {
  const left = error.id === 'turn.cancelled' || error.id === 'server.draining';
  return { at: left ? 'cancelled' : 'failed', step, error };
}
