import type { CatalogueEntry } from './entry.ts';

/** What the vendors of models, and the way to them, do. */
export const PROVIDER_ERRORS = {
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
