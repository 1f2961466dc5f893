import type { CatalogueEntry } from './entry.ts';

/** How a turn ends badly: its budgets, its chat, and the providers of its models. */
export const TURN_ERRORS = {
  'budget.steps': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The model asked for more steps than max_steps allows; raise it or ask for less at once.',
  },
  'budget.depth': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'Tool calls are nested deeper than max_tool_depth; raise it if that is intended.',
  },
  'budget.tokens': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The turn would exceed its token budget; raise it or shorten the conversation.',
  },
  'budget.time': {
    code: 'DEADLINE_EXCEEDED',
    retryable: true,
    help: 'The turn ran longer than its time limit, or than the deadline of its request; raise limits.timeout or the deadline, or ask for less at once.',
  },
  'turn.cancelled': {
    code: 'CANCELLED',
    retryable: true,
    help: 'The client cancelled the turn or left; send the message again if it is still wanted.',
  },
  'turn.busy': {
    code: 'FAILED_PRECONDITION',
    retryable: true,
    help: 'Wait for the running turn of this stream to end, or cancel it.',
  },
  'chat.events_lost': {
    code: 'OUT_OF_RANGE',
    retryable: false,
    help: 'A turn keeps a bounded window of its events; read from a later sequence.',
  },
  'server.draining': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'This pod is shutting down; connect again to reach another.',
  },
  'provider.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The model provider failed; see its answer with "zl logs", and try again.',
  },
  'provider.interrupted': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The model provider broke off in the middle of a reply; discard what arrived of it, and try again.',
  },
  'provider.unparsable': {
    code: 'INTERNAL',
    retryable: true,
    help: 'The model produced unreadable tool calls, also when asked to repair them; try again, or use another model.',
  },
  'provider.unknown_model': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Use a model alias that the host configuration names.',
  },
} as const satisfies Record<string, CatalogueEntry>;
