import { ZlError } from '@zerolatency/errors';
import { NOTHING_SPENT, type SpentTokens, type TokenUsage, tokensOf } from '../turn/budget.ts';
import type { Target } from './models.ts';
import type {
  AssistantPart,
  ModelFinish,
  ModelMessage,
  ModelPart,
  ToolCallRequest,
} from './port.ts';

export interface Reply {
  /** The one that wrote it; undefined before the first reply. */
  readonly target: Target | undefined;
  /** In the model's order, with the calls as it wrote them. */
  readonly parts: readonly ReplyPart[];
  readonly toolCalls: readonly ToolCallRequest[];
  readonly stop: 'end' | 'length' | 'filtered';
  /** Why the calls that it asks for cannot be read; undefined when they can. */
  readonly unreadable?: string | undefined;
}

type ReplyPart = Exclude<AssistantPart, { type: 'tool-call' }> | ToolCallRequest;

const STOPS: Partial<Record<ModelFinish['finishReason']['unified'], Reply['stop']>> = {
  length: 'length',
  'content-filter': 'filtered',
};

/** Collects the parts, and holds a provider to what was reserved. */
export class ReplyInProgress {
  hasBegun = false;
  hasText = false;
  stopped = false;
  #counts: SpentTokens | undefined;
  readonly #parts: ReplyPart[] = [];
  readonly #blocks = { text: new Map<string, Block>(), reasoning: new Map<string, Block>() };
  /** Calls whose input was counted as it arrived. */
  readonly #counted = new Set<string>();
  readonly #reserved: TokenUsage;
  #stop: Reply['stop'] = 'end';
  #unreadable: string | undefined;
  #bytes = 0;

  constructor(reserved: TokenUsage) {
    this.#reserved = reserved;
  }

  /** What the provider counted, or else the reserved input and an estimate of the output. */
  get usage(): SpentTokens {
    if (this.#counts !== undefined) return this.#counts;
    const { inputTokens } = this.#reserved;
    return { ...NOTHING_SPENT, inputTokens, outputTokens: tokensOf(this.#bytes) };
  }

  get isEmpty(): boolean {
    return !this.hasText && !this.#parts.some((part) => part.type === 'tool-call');
  }

  /** @throws provider.interrupted */
  add(part: ModelPart): void {
    this.hasBegun = true;
    switch (part.type) {
      case 'text-start':
      case 'text-delta':
      case 'text-end':
        this.#addTo('text', part);
        break;
      case 'reasoning-start':
      case 'reasoning-delta':
      case 'reasoning-end':
        this.#addTo('reasoning', part);
        break;
      case 'tool-input-delta':
        this.#counted.add(part.id);
        this.#spend(part.delta);
        break;
      case 'tool-call':
        this.#parts.push(part);
        this.#spend(part.toolName);
        if (!this.#counted.has(part.toolCallId)) this.#spend(part.input);
        break;
      case 'image':
        this.#parts.push(part.image);
        break;
      case 'unreadable':
        this.#unreadable = part.reason;
        break;
      case 'finish':
        this.#finish(part);
        break;
    }
  }

  end(): Omit<Reply, 'target'> {
    const parts = this.#parts.filter((part) => part.type !== 'text' || part.text !== '');
    // What a filter stopped must not act.
    const isFiltered = this.#stop === 'filtered';
    const toolCalls = isFiltered ? [] : parts.filter((part) => part.type === 'tool-call');
    const unreadable = isFiltered ? undefined : this.#unreadable;
    return { parts, toolCalls, stop: this.#stop, unreadable };
  }

  #addTo(type: 'text' | 'reasoning', part: BlockPart): void {
    const block = this.#blocks[type].get(part.id) ?? this.#open(type, part.id);
    if ('delta' in part) {
      block.text += part.delta;
      if (type === 'text') this.hasText ||= part.delta !== '';
      this.#spend(part.delta);
    }
    if (part.providerMetadata !== undefined) addMetadata(block, part.providerMetadata);
    if (part.type.endsWith('-end')) this.#blocks[type].delete(part.id);
  }

  #open(type: 'text' | 'reasoning', id: string): Block {
    const block: Block = { type, text: '' };
    this.#blocks[type].set(id, block);
    this.#parts.push(block);
    return block;
  }

  #finish({ finishReason, usage }: ModelFinish): void {
    this.stopped = true;
    const { inputTokens, outputTokens } = usage;
    this.#counts = {
      ...NOTHING_SPENT,
      inputTokens: countOf(inputTokens.total) ?? this.usage.inputTokens,
      outputTokens: countOf(outputTokens.total) ?? this.usage.outputTokens,
      cachedInputTokens: countOf(inputTokens.cacheRead) ?? 0,
      cacheWriteTokens: countOf(inputTokens.cacheWrite) ?? 0,
      reasoningTokens: countOf(outputTokens.reasoning) ?? 0,
    };
    if (finishReason.unified === 'interrupted' || finishReason.unified === 'error') {
      throw new ZlError('provider.interrupted', 'the model stream ended before its reply did');
    }
    this.#stop = STOPS[finishReason.unified] ?? 'end';
  }

  // Estimates err by less than a factor of two, so a provider that keeps to its
  // limit is never cut, and one that does not cannot spend a second reservation.
  #spend(text: string): void {
    this.#bytes += Buffer.byteLength(text);
    if (tokensOf(this.#bytes) <= 2 * this.#reserved.outputTokens) return;
    this.stopped = true;
    this.#stop = 'length';
  }
}

/** Undefined for what no provider can have counted, such as a fraction. */
function countOf(count: number | undefined): number | undefined {
  return Number.isSafeInteger(count) && Number(count) >= 0 ? count : undefined;
}

/** Reasoning and signatures are for the provider that wrote them: others may refuse them. */
export function readableBy(
  provider: string,
  messages: readonly ModelMessage[],
): readonly ModelMessage[] {
  return messages.map((message) => {
    if (message.role !== 'assistant' || message.provider === undefined) return message;
    const { role, content } = message;
    return { role, content: message.provider === provider ? content : unsigned(content) };
  });
}

function unsigned(content: readonly AssistantPart[]): readonly AssistantPart[] {
  return content.flatMap((part) => {
    const { providerOptions: _, ...plain } = part;
    return plain.type === 'reasoning' ? [] : [plain];
  });
}

type Block = Extract<ReplyPart, { type: 'text' | 'reasoning' }>;
type BlockPart = Extract<ModelPart, { type: `${'text' | 'reasoning'}-${string}` }>;

/** Providers sign a block at its start, in its course or at its end. */
function addMetadata(block: Block, added: NonNullable<BlockPart['providerMetadata']>): void {
  const options = { ...block.providerOptions };
  for (const [vendor, metadata] of Object.entries(added)) {
    options[vendor] = { ...options[vendor], ...metadata };
  }
  block.providerOptions = options;
}

export function userMessage(text: string): ModelMessage {
  return { role: 'user', content: [{ type: 'text', text }] };
}

export function textOf(
  parts: readonly { readonly type: string; readonly text?: string }[],
): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
