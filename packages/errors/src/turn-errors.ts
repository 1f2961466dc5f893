import type { CatalogueEntry } from './entry.ts';

/** How a turn ends badly: its budgets, its chat, and the providers of its models. */
export const TURN_ERRORS = {
  'budget.steps': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The model requested more steps than max_steps allows; raise it, or split the request.',
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
  'budget.cost': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The turn would exceed its cost limit; raise limits.max_cost of the request or turn.maxCost of the host, or shorten the conversation.',
  },
  'budget.unpriced': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The turn has a cost limit and its model no price; add the model to the table of providers.pricesFile, or remove the limit.',
  },
  'budget.time': {
    code: 'DEADLINE_EXCEEDED',
    retryable: true,
    help: 'The turn ran longer than its time limit, or than the deadline of its request; raise limits.timeout or the deadline, or split the request.',
  },
  'turn.cancelled': {
    code: 'CANCELLED',
    retryable: true,
    help: 'The client cancelled the turn or disconnected; send the message again if you still need the answer.',
  },
  'turn.rejected': {
    code: 'FAILED_PRECONDITION',
    retryable: true,
    help: 'The critic of the model alias rejected the answer, for the reason in the message; ask in other words, or use another alias.',
  },
  'turn.busy': {
    code: 'FAILED_PRECONDITION',
    retryable: true,
    help: 'Wait for the running turn of this stream to end, or cancel it.',
  },
  'chat.events_lost': {
    code: 'OUT_OF_RANGE',
    retryable: false,
    help: 'The further events of the turn are not kept or did not reach this pod, and it may still run; resume it again, or see its calls with "zl audit show --turn <id>".',
  },
  'turn.not_found': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Only the user who started a turn can resume or cancel it, until turnLog.window has passed after its end; "zl audit show --turn <id>" shows the calls of older turns.',
  },
  'turn.lost': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The pod that ran the turn stopped without ending it, and its tools may have run; "zl audit show --turn <id>" shows its calls. Send the message again where that is safe.',
  },
  'turn.unreachable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The turn runs on another pod, and Redis, through which pods reach each other, does not answer; try again.',
  },
  'server.draining': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'This pod is shutting down; reconnect to reach another.',
  },
  'provider.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The model provider failed; "zl logs" shows its response. Retry.',
  },
  'provider.interrupted': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: "The model provider's reply broke off; discard the partial reply, and retry.",
  },
  'provider.throttled': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: true,
    help: 'The model provider is overloaded, or takes no more requests of this account for now; try again later.',
  },
  'provider.timeout': {
    code: 'DEADLINE_EXCEEDED',
    retryable: true,
    help: 'The model provider did not answer in time; try again, or raise the timeouts of the provider in the host configuration.',
  },
  'provider.exhausted': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The account at the model provider has no credit left; top it up, or give the alias another target.',
  },
  'provider.unavailable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'Every target of the model alias keeps failing and is not asked for a while; "zl status" shows them. Try again later.',
  },
  'provider.unauthorized': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The model provider refuses the key of the host; correct what the key of the provider refers to in the host configuration.',
  },
  'provider.no_key': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The host has no usable key for the model provider; "zl logs" says why. Correct what the key refers to, or give the tenant a key in providers.tenantKeysFile.',
  },
  'provider.rejected': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The model provider refuses the request, such as an unknown model or too long a conversation; see its answer with "zl logs".',
  },
  'provider.unparsable': {
    code: 'INTERNAL',
    retryable: true,
    help: 'The model produced unreadable tool calls and did not repair them on request; retry, or use another model.',
  },
  'provider.incapable': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'No target of the model alias has the capabilities that the message names; use another alias, or correct the capabilities in the host configuration.',
  },
  'provider.unknown_model': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Use a model alias that the host configuration names.',
  },
} as const satisfies Record<string, CatalogueEntry>;
