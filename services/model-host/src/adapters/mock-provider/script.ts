/** A script as its file defines it; contracts/config/mock-script.schema.json has the bounds. */
export interface Script {
  readonly rules: readonly Rule[];
}

export interface Rule {
  readonly name?: string;
  readonly when?: Conditions;
  readonly reply: readonly ReplyPart[];
}

export interface Conditions {
  readonly text?: string;
  readonly step?: number;
  readonly offers?: string;
  readonly after?: 'person' | 'results' | 'failure';
}

export interface TextPart {
  readonly value: string;
  readonly chunkChars?: number;
  readonly delayMs?: number;
  readonly repeat?: number;
}

export interface ScriptedCall {
  readonly tool: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly argumentsText?: string;
}

export type ReplyPart =
  | { readonly text: string | TextPart }
  | { readonly toolCalls: readonly ScriptedCall[] }
  | { readonly usage: { readonly inputTokens: number; readonly outputTokens: number } }
  | { readonly waitMs: number }
  | { readonly fail: string }
  | { readonly hang: true }
  | { readonly stop: 'end' | 'length' };
