import type {
  JSONSchema7,
  LanguageModelV4FilePart,
  LanguageModelV4FinishReason,
  LanguageModelV4ReasoningPart,
  LanguageModelV4StreamPart,
  LanguageModelV4TextPart,
  LanguageModelV4ToolCall,
  LanguageModelV4ToolCallPart,
  LanguageModelV4ToolResultPart,
} from '@ai-sdk/provider';
import type { ToolDefinition } from '../ports.ts';

// The shapes are those of LanguageModelV4, narrowed to what a turn can hold. So a conversation
// reaches a vendor's package as it is, its signed metadata included.

export interface LlmProvider {
  readonly name: string;
  /** Whether this tenant's requests go to an account of its own. */
  readonly hasOwnAccount?: (tenant: string) => boolean;
  /**
   * Streams one reply, which ends with a finish part. Failures are ZlErrors;
   * an aborted signal ends the stream and everything behind it.
   */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelPart>;
}

export interface ModelRequest {
  /** Whose key the request carries, where tenants have keys of their own. */
  readonly tenant: string;
  /** The provider's name for the model, never an alias. */
  readonly model: string;
  readonly system: string;
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ToolDefinition[];
  readonly maxOutputTokens: number;
  /** The answer is to be one JSON value of this schema. */
  readonly outputSchema?: JSONSchema7 | undefined;
}

export type ModelMessage =
  | {
      readonly role: 'user';
      readonly content: readonly (LanguageModelV4TextPart | ModelImage)[];
    }
  | {
      readonly role: 'assistant';
      readonly content: readonly AssistantPart[];
      /** The provider that wrote it; undefined in what a client remembers. */
      readonly provider?: string | undefined;
    }
  | { readonly role: 'tool'; readonly content: readonly ToolAnswer[] };

export type AssistantPart =
  | LanguageModelV4TextPart
  /** Providers refuse a reasoning whose signature in providerOptions is missing. */
  | LanguageModelV4ReasoningPart
  | LanguageModelV4ToolCallPart
  | ModelImage;

/** Base64, so that a conversation is JSON throughout. */
export type ModelImage = LanguageModelV4FilePart & {
  readonly data: { readonly type: 'data'; readonly data: string };
};

export type ToolAnswer = LanguageModelV4ToolResultPart & {
  readonly output: { readonly type: 'text' | 'error-text'; readonly value: string };
};

/** The provider's id for the call; ours is the call_id. The input is as the model wrote it, which may not be JSON. */
export type ToolCallRequest = Pick<
  LanguageModelV4ToolCall,
  'type' | 'toolCallId' | 'toolName' | 'input' | 'providerMetadata'
>;

/** What the provider counted; undefined is not counted. */
export interface ModelUsage {
  readonly inputTokens: {
    readonly total: number | undefined;
    /** Both are part of the total. */
    readonly cacheRead?: number | undefined;
    readonly cacheWrite?: number | undefined;
  };
  readonly outputTokens: {
    readonly total: number | undefined;
    readonly reasoning?: number | undefined;
  };
}

export interface ModelFinish {
  readonly type: 'finish';
  readonly finishReason: { readonly unified: LanguageModelV4FinishReason['unified'] };
  readonly usage: ModelUsage;
}

/** A `-start` or `-end` without metadata may be missing. */
export type ModelPart =
  | Extract<
      LanguageModelV4StreamPart,
      {
        type:
          | `text-${'start' | 'delta' | 'end'}`
          | `reasoning-${'start' | 'delta' | 'end'}`
          | 'tool-input-delta';
      }
    >
  | ToolCallRequest
  | { readonly type: 'image'; readonly image: ModelImage }
  /** The reply asks for tools in a form that cannot be read; the reason is for the model. */
  | { readonly type: 'unreadable'; readonly reason: string }
  | ModelFinish;
