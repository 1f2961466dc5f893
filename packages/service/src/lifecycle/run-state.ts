/**
 *   starting -> ready -> draining -> stopped
 *       \---------\---------\------> failed
 *
 * A process that is asked to stop while it starts drains what it has so far.
 */
export type RunState =
  | { readonly name: 'starting' }
  | { readonly name: 'ready' }
  | {
      readonly name: 'draining';
      readonly reason: string;
      readonly forced: boolean;
      /** Why the process stops, when it did not want to. */
      readonly error?: unknown;
    }
  | { readonly name: 'stopped'; readonly reason: string }
  | { readonly name: 'failed'; readonly reason: string; readonly error: unknown };

export type RunStateName = RunState['name'];

export type RunEvent =
  | { readonly name: 'ready' }
  | { readonly name: 'drain'; readonly reason: string; readonly error?: unknown }
  | { readonly name: 'force' }
  | { readonly name: 'drained' };

/** Events without a meaning in a state are ignored: signals repeat and race. */
export function transition(state: RunState, event: RunEvent): RunState {
  switch (event.name) {
    case 'ready':
      return state.name === 'starting' ? { name: 'ready' } : state;
    case 'drain':
      return drain(state, event);
    case 'force':
      return state.name === 'draining' && !state.forced ? { ...state, forced: true } : state;
    case 'drained':
      if (state.name !== 'draining') return state;
      return state.error === undefined
        ? { name: 'stopped', reason: state.reason }
        : { name: 'failed', reason: state.reason, error: state.error };
  }
}

function drain(state: RunState, event: { reason: string; error?: unknown }): RunState {
  switch (state.name) {
    case 'starting':
    case 'ready':
      return { name: 'draining', reason: event.reason, forced: false, error: event.error };
    case 'draining':
      // The first reason stays; a failure while draining is not forgotten.
      return state.error === undefined && event.error !== undefined
        ? { ...state, error: event.error }
        : state;
    case 'stopped':
    case 'failed':
      return state;
  }
}
