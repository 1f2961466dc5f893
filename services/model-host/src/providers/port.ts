import type { ToolDefinition } from '../ports.ts';

export interface LlmProvider {
  readonly name: string;
  /**
   * Streams one reply, which ends with a stop part. Failures are ZlErrors;
   * an aborted signal ends the stream and everything behind it.
   */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelPart>;
}

export interface ModelRequest {
  /** The provider's name for the model, never an alias. */
  readonly model: string;
  readonly system: string;
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ToolDefinition[];
  readonly maxOutputTokens: number;
}

export type ModelMessage =
  | { readonly role: 'user'; readonly text: string }
  | {
      readonly role: 'assistant';
      readonly text: string;
      readonly toolCalls: readonly ToolCallRequest[];
    }
  | { readonly role: 'tool'; readonly results: readonly ToolAnswer[] };

export interface ToolCallRequest {
  /** The model's id for the call; ours is the call_id. */
  readonly id: string;
  readonly tool: string;
  /** As the model wrote it, which may not be JSON. */
  readonly argumentsText: string;
}

export interface ToolAnswer {
  readonly id: string;
  readonly tool: string;
  readonly text: string;
  readonly isError: boolean;
}

export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export type ModelStop = 'end' | 'tools' | 'length';

export type ModelPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'toolCall'; readonly call: ToolCallRequest }
  | ({ readonly type: 'usage' } & TokenUsage)
  | { readonly type: 'stop'; readonly reason: ModelStop };
