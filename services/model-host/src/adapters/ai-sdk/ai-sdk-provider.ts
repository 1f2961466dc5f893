import type {
  JSONSchema7,
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4FunctionTool,
  LanguageModelV4Message,
  LanguageModelV4StreamPart,
} from '@ai-sdk/provider';
import { ZlError } from '@zerolatency/errors';
import type { ToolDefinition } from '../../ports.ts';
import type { LlmProvider, ModelMessage, ModelPart, ModelRequest } from '../../providers/port.ts';
import { ACCOUNT_HEADER, type HttpBounds, openHttp } from './http.ts';
import { toProviderError } from './provider-error.ts';
import { toolNameReader, vendorToolName } from './tool-names.ts';
import { VENDORS, type Vendor, type VendorType } from './vendors.ts';

export interface AiSdkProviderOptions {
  readonly name: string;
  readonly type: VendorType;
  /** The vendor's own, when absent. */
  readonly baseUrl?: string | undefined;
  /** Returns undefined for a server that wants none. */
  readonly readKey: (tenant: string, isRefused: boolean) => Promise<string | undefined>;
  readonly hasOwnAccount?: LlmProvider['hasOwnAccount'];
  readonly bounds: HttpBounds;
}

export interface AiSdkProvider extends LlmProvider {
  /** Opens the connection of the first request. */
  warm(): Promise<void>;
  close(): Promise<void>;
}

/** The rest of a reply whose end has been read, so that its connection serves the next one. */
const DRAIN_MS = 1000;

/** A vendor's models behind our port. @throws config.invalid without an address. */
export async function openAiSdkProvider(options: AiSdkProviderOptions): Promise<AiSdkProvider> {
  const { name, type, readKey, bounds } = options;
  const vendor: Vendor = VENDORS[type];
  const baseUrl = options.baseUrl ?? vendor.baseUrl;
  if (baseUrl === undefined) {
    throw new ZlError('config.invalid', `providers.vendors.${name}.baseUrl is missing`);
  }
  const accounts = new Accounts();
  const http = openHttp({
    baseUrl,
    bounds,
    async authorize(id, isRefused) {
      const account = accounts.get(id);
      const key = await readKey(account.tenant, isRefused);
      if (key === undefined) return undefined;
      account.keys.push(key);
      return vendor.keyHeader(key);
    },
  });
  const open = await vendor.open({ name, baseURL: baseUrl, fetch: http.fetch });
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPart> {
    let hasBegun = false;
    const account = accounts.open(request.tenant);
    try {
      const options = {
        ...callOptions(request, vendor),
        headers: { [ACCOUNT_HEADER]: account.id },
      };
      const parts = replyOf(open(request.model), options, signal);
      const toolName = toolNameReader(request.tools);
      for await (const part of parts) {
        const read = readPart(part, { hasBegun, toolName });
        if (read === undefined) continue;
        hasBegun = true;
        yield read;
        if (read.type === 'finish') return;
      }
      throw new ZlError('provider.failed', `${name} ended its reply in the middle`);
    } catch (reason) {
      signal.throwIfAborted();
      throw toProviderError(reason, { provider: name, hasBegun, keys: account.keys });
    } finally {
      accounts.close(account);
    }
  }
  const { hasOwnAccount = () => false } = options;
  return { name, hasOwnAccount, stream, warm: http.warm, close: http.close };
}

interface Account {
  readonly id: string;
  readonly tenant: string;
  /** What this request has sent: whatever a provider repeats of it must not be logged. */
  readonly keys: string[];
}

/** Whose key a request carries, by a number that passes through the vendor's package in its place. */
class Accounts {
  readonly #open = new Map<string, Account>();
  #last = 0;

  open(tenant: string): Account {
    this.#last += 1;
    const account = { id: `${this.#last}`, tenant, keys: [] };
    this.#open.set(account.id, account);
    return account;
  }

  get(id: string): Account {
    const account = this.#open.get(id);
    // Rather than with the key of somebody else.
    if (account === undefined) throw new Error('a request to a model names no account');
    return account;
  }

  close({ id }: Account): void {
    this.#open.delete(id);
  }
}

async function* replyOf(
  model: LanguageModelV4,
  options: LanguageModelV4CallOptions,
  signal: AbortSignal,
): AsyncGenerator<LanguageModelV4StreamPart> {
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  let isWhole = false;
  try {
    const { stream } = await model.doStream({ ...options, abortSignal: stop.signal });
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (value.type === 'finish') {
        isWhole = true;
        signal.removeEventListener('abort', onAbort);
        void drain(reader, stop);
      }
      yield value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    if (!isWhole) stop.abort();
  }
}

async function drain(
  reader: ReadableStreamDefaultReader<unknown>,
  stop: AbortController,
): Promise<void> {
  const timer = setTimeout(() => stop.abort(), DRAIN_MS);
  try {
    while (!(await reader.read()).done);
  } catch {
    // The reply was whole; only its connection is lost.
  } finally {
    clearTimeout(timer);
  }
}

/** Undefined for what a turn has no use for. @throws what the vendor says in the middle of a reply. */
function readPart(
  part: LanguageModelV4StreamPart,
  { hasBegun, toolName }: { hasBegun: boolean; toolName: (vendorName: string) => string },
): ModelPart | undefined {
  switch (part.type) {
    case 'text-start':
    case 'text-delta':
    case 'text-end':
    case 'reasoning-start':
    case 'reasoning-delta':
    case 'reasoning-end':
    case 'tool-input-delta':
      return part;
    case 'tool-call':
      // A call without arguments has no text at some vendors.
      return { ...part, toolName: toolName(part.toolName), input: part.input || '{}' };
    case 'file': {
      const { mediaType, data } = part;
      if (data.type !== 'data' || !mediaType.startsWith('image/')) return undefined;
      const base64 =
        typeof data.data === 'string' ? data.data : Buffer.from(data.data).toString('base64');
      return {
        type: 'image',
        image: { type: 'file', mediaType, data: { type: 'data', data: base64 } },
      };
    }
    case 'error':
      throw part.error;
    case 'finish': {
      const { type, finishReason, usage } = part;
      const { unified } = finishReason;
      if (!hasBegun && (unified === 'error' || unified === 'interrupted')) return undefined;
      return { type, finishReason, usage };
    }
    default:
      return undefined;
  }
}

function callOptions(request: ModelRequest, vendor: Vendor): LanguageModelV4CallOptions {
  const { system, messages, tools, maxOutputTokens, outputSchema } = request;
  const mark = vendor.cacheMark && { providerOptions: vendor.cacheMark };
  return {
    prompt: [
      { role: 'system', content: system, ...mark },
      ...messages.map((message, index) => ({
        ...withVendorNames(message),
        // The next request of the turn repeats all of this one.
        ...(index === messages.length - 1 && mark),
      })),
    ],
    tools: tools.map((tool, index) => ({
      ...functionOf(tool),
      ...(index === tools.length - 1 && mark),
    })),
    maxOutputTokens,
    ...(outputSchema && {
      responseFormat: { type: 'json', schema: outputSchema, name: 'answer' },
    }),
    ...(vendor.options && { providerOptions: vendor.options }),
  };
}

function withVendorNames(message: ModelMessage): LanguageModelV4Message {
  switch (message.role) {
    case 'user':
      return { role: 'user', content: [...message.content] };
    case 'assistant':
      return {
        role: 'assistant',
        content: message.content.map((part) =>
          part.type === 'tool-call' ? { ...part, toolName: vendorToolName(part.toolName) } : part,
        ),
      };
    case 'tool':
      return {
        role: 'tool',
        content: message.content.map((part) => ({
          ...part,
          toolName: vendorToolName(part.toolName),
        })),
      };
  }
}

function functionOf({
  name,
  description,
  inputSchema,
}: ToolDefinition): LanguageModelV4FunctionTool {
  if (!isSchema(inputSchema)) throw new Error(`the schema of ${name} is not an object`);
  return { type: 'function', name: vendorToolName(name), description, inputSchema };
}

function isSchema(schema: unknown): schema is JSONSchema7 {
  return typeof schema === 'object' && schema !== null && !Array.isArray(schema);
}
