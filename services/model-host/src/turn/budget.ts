import { ZlError } from '@zerolatency/errors';
import type { ModelMessage, TokenUsage } from '../providers/port.ts';

export interface TurnLimits {
  /** Model calls. */
  readonly maxSteps: number;
  /** How deep tool calls may nest: with 1 a turn that a tool starts may call no tools itself. */
  readonly maxToolDepth: number;
  readonly timeoutMs: number;
  /** Over all model calls of the turn. */
  readonly maxInputTokens: number;
  readonly maxOutputTokens: number;
}

export type TokenLimits = Pick<TurnLimits, 'maxInputTokens' | 'maxOutputTokens'>;

/** The client's limits narrow the host's and never widen them; 0 keeps the host's. */
export function narrowLimits(host: TurnLimits, asked: Partial<TurnLimits> = {}): TurnLimits {
  const narrow = (key: keyof TurnLimits) => Math.min(host[key], asked[key] || host[key]);
  return {
    maxSteps: narrow('maxSteps'),
    maxToolDepth: narrow('maxToolDepth'),
    timeoutMs: narrow('timeoutMs'),
    maxInputTokens: narrow('maxInputTokens'),
    maxOutputTokens: narrow('maxOutputTokens'),
  };
}

// A rule of thumb for prose, whatever the tokenizer. Exact counts come with the usage part.
const BYTES_PER_TOKEN = 4;

/**
 * Tokens of a turn. Reserved before a model call, settled after it with the
 * provider's counts, or else with the reserved input and an estimate of the output.
 */
export class TokenBudget {
  readonly #limits: TokenLimits;
  #inputTokens = 0;
  #outputTokens = 0;
  /** Spent by turns that this turn's calls started. */
  #nested: TokenUsage = { inputTokens: 0, outputTokens: 0 };

  constructor(limits: TokenLimits) {
    this.#limits = limits;
  }

  get spent(): TokenUsage {
    return { inputTokens: this.#inputTokens, outputTokens: this.#outputTokens };
  }

  /** By this turn and the turns nested in it. */
  get spentInAll(): TokenUsage {
    return {
      inputTokens: this.#inputTokens + this.#nested.inputTokens,
      outputTokens: this.#outputTokens + this.#nested.outputTokens,
    };
  }

  /** What each of the concurrent calls may spend on nested turns. */
  shareAmong(calls: number): TokenLimits {
    const { inputTokens, outputTokens } = this.spentInAll;
    return {
      maxInputTokens: Math.floor(Math.max(0, this.#limits.maxInputTokens - inputTokens) / calls),
      maxOutputTokens: Math.floor(Math.max(0, this.#limits.maxOutputTokens - outputTokens) / calls),
    };
  }

  chargeNested({ inputTokens, outputTokens }: TokenUsage): void {
    this.#nested = {
      inputTokens: this.#nested.inputTokens + inputTokens,
      outputTokens: this.#nested.outputTokens + outputTokens,
    };
  }

  reserve(inputTokens: number): TokenUsage {
    const spent = this.spentInAll;
    const inputLeft = this.#limits.maxInputTokens - spent.inputTokens;
    if (inputTokens > inputLeft) {
      throw new ZlError(
        'budget.tokens',
        `the model call needs about ${inputTokens} input tokens, ${Math.max(0, inputLeft)} are left (max_input_tokens)`,
      );
    }
    this.refuseWhenSpent();
    const outputTokens = this.#limits.maxOutputTokens - spent.outputTokens;
    this.#inputTokens += inputTokens;
    this.#outputTokens += outputTokens;
    return { inputTokens, outputTokens };
  }

  refuseWhenSpent(): void {
    if (this.spentInAll.outputTokens < this.#limits.maxOutputTokens) return;
    throw new ZlError('budget.tokens', 'no output tokens are left (max_output_tokens)');
  }

  settle(reservation: TokenUsage, used: TokenUsage): void {
    this.#inputTokens += used.inputTokens - reservation.inputTokens;
    this.#outputTokens += used.outputTokens - reservation.outputTokens;
  }
}

export function tokensOf(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}

export function estimateTokens(text: string): number {
  return tokensOf(Buffer.byteLength(text));
}

export function estimateMessageTokens(message: ModelMessage): number {
  switch (message.role) {
    case 'user':
      return estimateTokens(message.text);
    case 'assistant':
      return message.toolCalls.reduce(
        (sum, call) => sum + estimateTokens(call.tool) + estimateTokens(call.argumentsText),
        estimateTokens(message.text),
      );
    case 'tool':
      return message.results.reduce((sum, result) => sum + estimateTokens(result.text), 0);
  }
}
