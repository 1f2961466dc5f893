/** The guardrails of one turn. */
export interface TurnLimits {
  /** Model calls. */
  readonly maxSteps: number;
  /** How deep tool calls may nest: 1 lets a turn call tools, and no tool start a turn of its own. */
  readonly maxToolDepth: number;
  readonly timeoutMs: number;
  /** Over all model calls of the turn. */
  readonly maxInputTokens: number;
  readonly maxOutputTokens: number;
}

/** What the client asked for; 0 is "as the host has it". It narrows and never widens. */
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
