import { ZlError } from '@zerolatency/errors';
import type { ModelMessage, TokenUsage } from '../providers/port.ts';
import type { TurnLimits } from './limits.ts';

// Rule of thumb of every large tokenizer for prose. Exact counts come with the usage part.
const BYTES_PER_TOKEN = 4;

/** What was set aside for one model call. */
export interface Reservation {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/**
 * Tokens of a turn. Reserved before a model call, settled after it with what
 * the provider counted, or else with the input reserved and an estimate of the output.
 */
export class TokenBudget {
  readonly #limits: Pick<TurnLimits, 'maxInputTokens' | 'maxOutputTokens'>;
  #inputTokens = 0;
  #outputTokens = 0;

  constructor(limits: Pick<TurnLimits, 'maxInputTokens' | 'maxOutputTokens'>) {
    this.#limits = limits;
  }

  get spent(): TokenUsage {
    return { inputTokens: this.#inputTokens, outputTokens: this.#outputTokens };
  }

  /** @throws budget.tokens when the call would not fit. */
  reserve(inputTokens: number): Reservation {
    const inputLeft = this.#limits.maxInputTokens - this.#inputTokens;
    if (inputTokens > inputLeft) {
      throw new ZlError(
        'budget.tokens',
        `the model call needs about ${inputTokens} input tokens, ${Math.max(0, inputLeft)} are left (max_input_tokens)`,
      );
    }
    this.refuseWhenSpent();
    const outputTokens = this.#limits.maxOutputTokens - this.#outputTokens;
    this.#inputTokens += inputTokens;
    this.#outputTokens += outputTokens;
    return { inputTokens, outputTokens };
  }

  /** @throws budget.tokens when a model could not say anything more. */
  refuseWhenSpent(): void {
    if (this.#outputTokens < this.#limits.maxOutputTokens) return;
    throw new ZlError('budget.tokens', 'no output tokens are left (max_output_tokens)');
  }

  settle(reservation: Reservation, used: TokenUsage): void {
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
