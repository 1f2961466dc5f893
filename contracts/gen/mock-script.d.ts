// Generated from contracts/config/mock-script.schema.json by `make generate`.

export type Part =
  | {
      readonly text:
        | string
        | {
            readonly value: string;
            readonly chunkChars?: number;
            /**
             * Before each chunk.
             */
            readonly delayMs?: number;
            readonly repeat?: number;
          };
    }
  | {
      readonly toolCalls: readonly ToolCall[];
    }
  | {
      readonly usage: {
        readonly inputTokens: number;
        readonly outputTokens: number;
      };
    }
  | {
      readonly waitMs: number;
    }
  | {
      /**
       * The provider fails with this message.
       */
      readonly fail: string;
    }
  | {
      /**
       * The reply hangs until the call is cancelled.
       */
      readonly hang: true;
    }
  | {
      readonly stop: 'end' | 'length';
    };

/**
 * The first rule whose conditions all hold supplies the reply. Texts, tool names and arguments may contain {{name}} or {{name|default}}: text (the last user message), a capture group of the rule's regular expression by name or number, result (the last tool results), error (their errors).
 */
export interface MockScript {
  readonly schema: 'zerolatency.mock-script/v1';
  readonly rules: readonly Rule[];
}
export interface Rule {
  readonly name?: string;
  readonly when?: When;
  readonly reply: readonly Part[];
}
export interface When {
  /**
   * Case-insensitive regular expression that the last user message must match.
   */
  readonly text?: string;
  /**
   * Which model call of the turn, counted from 1.
   */
  readonly step?: number;
  /**
   * A tool that the turn must offer.
   */
  readonly offers?: string;
  /**
   * What the model call follows: a user message, successful tool results, or at least one failed call.
   */
  readonly after?: 'person' | 'results' | 'failure';
}
export interface ToolCall {
  readonly tool: string;
  readonly arguments?: {
    readonly [k: string]: unknown;
  };
  /**
   * Sent unchanged, so arguments can be invalid JSON.
   */
  readonly argumentsText?: string;
}
