import { ZlError } from '@zerolatency/errors';
import type { ModelMessage } from '../providers/port.ts';

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

export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface SpentTokens extends TokenUsage {
  /** Both are part of the input. */
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
  /** Part of the output. */
  readonly reasoningTokens: number;
  /** Of the model calls that have a price. */
  readonly costNanoUsd: number;
  /** Model calls whose cost is unknown. */
  readonly unpricedCalls: number;
}

export const NOTHING_SPENT: SpentTokens = {
  inputTokens: 0,
  outputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0,
  costNanoUsd: 0,
  unpricedCalls: 0,
};

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
  #spent = NOTHING_SPENT;
  /** Spent by turns that this turn's calls started. */
  #nested = NOTHING_SPENT;

  constructor(limits: TokenLimits) {
    this.#limits = limits;
  }

  get spent(): SpentTokens {
    return this.#spent;
  }

  /** By this turn and the turns nested in it. */
  get spentInAll(): SpentTokens {
    return sum(this.#spent, this.#nested);
  }

  /** What each of the concurrent calls may spend on nested turns. */
  shareAmong(calls: number): TokenLimits {
    const { inputTokens, outputTokens } = this.spentInAll;
    return {
      maxInputTokens: Math.floor(Math.max(0, this.#limits.maxInputTokens - inputTokens) / calls),
      maxOutputTokens: Math.floor(Math.max(0, this.#limits.maxOutputTokens - outputTokens) / calls),
    };
  }

  chargeNested(usage: Charge): void {
    this.#nested = sum(this.#nested, usage);
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
    this.#spent = sum(this.#spent, { inputTokens, outputTokens });
    return { inputTokens, outputTokens };
  }

  refuseWhenSpent(): void {
    if (this.spentInAll.outputTokens < this.#limits.maxOutputTokens) return;
    throw new ZlError('budget.tokens', 'no output tokens are left (max_output_tokens)');
  }

  settle(reservation: TokenUsage, used: Charge): void {
    this.#spent = sum(this.#spent, {
      ...used,
      inputTokens: used.inputTokens - reservation.inputTokens,
      outputTokens: used.outputTokens - reservation.outputTokens,
    });
  }
}

type Charge = TokenUsage & Partial<SpentTokens>;

function sum(one: SpentTokens, other: Charge): SpentTokens {
  const added = { ...NOTHING_SPENT, ...other };
  return {
    inputTokens: one.inputTokens + added.inputTokens,
    outputTokens: one.outputTokens + added.outputTokens,
    cachedInputTokens: one.cachedInputTokens + added.cachedInputTokens,
    cacheWriteTokens: one.cacheWriteTokens + added.cacheWriteTokens,
    reasoningTokens: one.reasoningTokens + added.reasoningTokens,
    costNanoUsd: one.costNanoUsd + added.costNanoUsd,
    unpricedCalls: one.unpricedCalls + added.unpricedCalls,
  };
}

export function tokensOf(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}

export function estimateTokens(text: string): number {
  return tokensOf(Buffer.byteLength(text));
}

export function estimateMessageTokens({ content }: ModelMessage): number {
  return content.reduce((sum, part) => sum + estimateTokens(sizeable(part)), 0);
}

/** What a part adds to a request. An image counts as its text, which is more than providers charge for it. */
function sizeable(part: ModelMessage['content'][number]): string {
  switch (part.type) {
    case 'tool-call':
      return part.toolName + JSON.stringify(part.input);
    case 'tool-result':
      return part.output.value;
    case 'file':
      return part.data.data;
    default:
      return part.text;
  }
}
