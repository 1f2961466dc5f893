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
       * Nothing more comes until the call is cancelled.
       */
      readonly hang: true;
    }
  | {
      readonly stop: 'end' | 'length';
    };

/**
 * The first rule whose conditions all hold gives the reply. Texts, names of tools and arguments may hold {{name}} or {{name|default}}: text (what the person said last), a capture group of the rule's regular expression by name or number, result (what the last tool calls gave), error (what they failed with).
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
   * Regular expression over what the person said last; case does not matter.
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
   * What the model call follows: the person, tool results that are all fine, or at least one failed call.
   */
  readonly after?: 'person' | 'results' | 'failure';
}
export interface ToolCall {
  readonly tool: string;
  readonly arguments?: {
    readonly [k: string]: unknown;
  };
  /**
   * Sent as it is, which allows arguments that are not JSON.
   */
  readonly argumentsText?: string;
}
