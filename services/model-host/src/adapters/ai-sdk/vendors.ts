import type { LanguageModelV4, SharedV4ProviderOptions } from '@ai-sdk/provider';

export interface VendorSettings {
  /** Names the provider where its package needs a name. */
  readonly name: string;
  readonly baseURL: string;
  readonly fetch: typeof globalThis.fetch;
}

/** In what the vendors differ, beside their packages. */
export interface Vendor {
  /** Undefined when it depends on where the server runs. */
  readonly baseUrl: string | undefined;
  /** Loads the vendor's package, which nothing else needs. */
  open(settings: VendorSettings): Promise<(model: string) => LanguageModelV4>;
  keyHeader(key: string): readonly [name: string, value: string];
  readonly options?: SharedV4ProviderOptions;
  /** Marks the end of what the next request repeats; the others find that by themselves. */
  readonly cacheMark?: SharedV4ProviderOptions;
}

/** In place of the key, which only the requests themselves hold. */
const NO_KEY = 'set-by-the-host';

const bearer = (key: string) => ['authorization', `Bearer ${key}`] as const;

const openai = {
  baseUrl: 'https://api.openai.com/v1',
  keyHeader: bearer,
  // Nothing is kept at the vendor, so reasoning travels encrypted in the conversation.
  options: { openai: { store: false } },
} satisfies Partial<Vendor>;

export const VENDORS = {
  anthropic: {
    baseUrl: 'https://api.anthropic.com/v1',
    async open({ baseURL, fetch }) {
      const { createAnthropic } = await import('@ai-sdk/anthropic');
      return createAnthropic({ baseURL, fetch, apiKey: NO_KEY });
    },
    keyHeader: (key) => ['x-api-key', key],
    cacheMark: { anthropic: { cacheControl: { type: 'ephemeral' } } },
  },
  openai: {
    ...openai,
    async open({ baseURL, fetch }) {
      const { createOpenAI } = await import('@ai-sdk/openai');
      return createOpenAI({ baseURL, fetch, apiKey: NO_KEY }).responses;
    },
  },
  'openai-chat': {
    ...openai,
    async open({ baseURL, fetch }) {
      const { createOpenAI } = await import('@ai-sdk/openai');
      return createOpenAI({ baseURL, fetch, apiKey: NO_KEY }).chat;
    },
  },
  google: {
    baseUrl: 'https://generativelanguage.googleapis.com/v1beta',
    async open({ baseURL, fetch }) {
      const { createGoogle } = await import('@ai-sdk/google');
      return createGoogle({ baseURL, fetch, apiKey: NO_KEY });
    },
    keyHeader: (key) => ['x-goog-api-key', key],
  },
  'openai-compatible': {
    baseUrl: undefined,
    async open({ name, baseURL, fetch }) {
      const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible');
      const options = { includeUsage: true, supportsStructuredOutputs: true };
      return createOpenAICompatible({ name, baseURL, fetch, ...options });
    },
    keyHeader: bearer,
  },
} as const satisfies Record<string, Vendor>;

export type VendorType = keyof typeof VENDORS;
