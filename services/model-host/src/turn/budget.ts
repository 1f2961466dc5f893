import { ZlError } from '@zerolatency/errors';
import type { Money } from '@zerolatency/proto/agent';
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
  /** Of all model calls; infinite where nothing limits it. */
  readonly maxCostNanoUsd: number;
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

export type TokenLimits = Pick<TurnLimits, 'maxInputTokens' | 'maxOutputTokens' | 'maxCostNanoUsd'>;

export interface Reservation extends TokenUsage {
  /** 0 where nothing limits the cost. */
  readonly costNanoUsd: number;
}

/** What a model call could need, and at what price. */
export interface ModelCallDemand {
  /** For people. */
  readonly model: string;
  readonly inputTokens: number;
  /** Of the model itself. */
  readonly maxOutputTokens?: number | undefined;
  /** At most; undefined when its model has no price. */
  readonly costOf: (tokens: TokenUsage) => number | undefined;
}

/** The client's limits narrow the host's and never widen them; 0 keeps the host's. */
export function narrowLimits(host: TurnLimits, asked: Partial<TurnLimits> = {}): TurnLimits {
  const narrow = (key: keyof TurnLimits) => Math.min(host[key], asked[key] || host[key]);
  return {
    maxSteps: narrow('maxSteps'),
    maxToolDepth: narrow('maxToolDepth'),
    timeoutMs: narrow('timeoutMs'),
    maxInputTokens: narrow('maxInputTokens'),
    maxOutputTokens: narrow('maxOutputTokens'),
    maxCostNanoUsd: narrow('maxCostNanoUsd'),
  };
}

/** Undefined for another currency, and for less than nothing. */
export function nanoUsdOf({ currencyCode, units, nanos }: Money): number | undefined {
  const nanoUsd = Number(units) * 1e9 + nanos;
  return currencyCode === 'USD' && nanoUsd >= 0 ? nanoUsd : undefined;
}

// A rule of thumb for prose, whatever the tokenizer. Exact counts come with the usage part.
const BYTES_PER_TOKEN = 4;

/**
 * Tokens and cost of a turn. Reserved before a model call, settled after it with the
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
    const { inputTokens, outputTokens, costNanoUsd } = this.spentInAll;
    const share = (limit: number, spent: number) => Math.floor(Math.max(0, limit - spent) / calls);
    return {
      maxInputTokens: share(this.#limits.maxInputTokens, inputTokens),
      maxOutputTokens: share(this.#limits.maxOutputTokens, outputTokens),
      maxCostNanoUsd: share(this.#limits.maxCostNanoUsd, costNanoUsd),
    };
  }

  chargeNested(usage: Charge): void {
    this.#nested = sum(this.#nested, usage);
  }

  /** The worst case of a call. The output is cut to what the cost limit has left. */
  reserve({ inputTokens, maxOutputTokens = Infinity, ...priced }: ModelCallDemand): Reservation {
    const spent = this.spentInAll;
    const inputLeft = this.#limits.maxInputTokens - spent.inputTokens;
    if (inputTokens > inputLeft) {
      throw new ZlError(
        'budget.tokens',
        `the model call needs about ${inputTokens} input tokens, ${Math.max(0, inputLeft)} are left (max_input_tokens)`,
      );
    }
    this.refuseWhenSpent();
    const outputLeft = this.#limits.maxOutputTokens - spent.outputTokens;
    const wanted = { inputTokens, outputTokens: outputLeft };
    const { maxCostNanoUsd } = this.#limits;
    const reservation = Number.isFinite(maxCostNanoUsd)
      ? affordable(
          { ...wanted, outputTokens: Math.min(outputLeft, maxOutputTokens) },
          { ...priced, left: maxCostNanoUsd - spent.costNanoUsd },
        )
      : { ...wanted, costNanoUsd: 0 };
    this.#spent = sum(this.#spent, reservation);
    return reservation;
  }

  refuseWhenSpent(): void {
    const { outputTokens, costNanoUsd } = this.spentInAll;
    if (outputTokens >= this.#limits.maxOutputTokens) {
      throw new ZlError('budget.tokens', 'no output tokens are left (max_output_tokens)');
    }
    if (costNanoUsd < this.#limits.maxCostNanoUsd) return;
    throw new ZlError('budget.cost', 'nothing is left of the cost limit (max_cost)');
  }

  settle(reservation: Reservation, used: Charge): void {
    this.#spent = sum(this.#spent, {
      ...used,
      inputTokens: used.inputTokens - reservation.inputTokens,
      outputTokens: used.outputTokens - reservation.outputTokens,
      costNanoUsd: (used.costNanoUsd ?? 0) - reservation.costNanoUsd,
    });
  }
}

interface CostLeft extends Pick<ModelCallDemand, 'model' | 'costOf'> {
  readonly left: number;
}

/** As much of the output as the rest of the cost limit pays for. */
function affordable(wanted: TokenUsage, { model, costOf, left }: CostLeft): Reservation {
  const inputCost = costOf({ ...wanted, outputTokens: 0 });
  const cost = costOf(wanted);
  if (inputCost === undefined || cost === undefined) {
    const message = `neither the shipped price table nor providers.pricesFile has ${model}`;
    throw new ZlError('budget.unpriced', message);
  }
  if (cost <= left) return { ...wanted, costNanoUsd: cost };
  const share = Math.max(0, left - inputCost) / (cost - inputCost);
  const outputTokens = Math.floor(wanted.outputTokens * share);
  if (outputTokens < 1) {
    const usd = (nanos: number) => (Math.max(0, nanos) / 1e9).toFixed(6);
    const message = `the model call needs more than ${usd(inputCost)} USD, ${usd(left)} are left (max_cost)`;
    throw new ZlError('budget.cost', message);
  }
  return { ...wanted, outputTokens, costNanoUsd: left };
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
