// Generated from contracts/audit/records/turn.schema.json by `make generate`.

/**
 * One user message, from its admission to its end; or one call that a person made without a model, which has no steps.
 */
export interface TurnBody {
  readonly turnId: string;
  /**
   * The call that started a nested turn; absent for a person's turn.
   */
  readonly parentCallId?: string;
  readonly sessionId: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly outcome: 'done' | 'failed' | 'cancelled';
  /**
   * Of the error catalogue; absent when the outcome is done.
   */
  readonly errorId?: string;
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /**
   * Billionths of a US dollar by the host's price table, without nested turns; absent when a model that was used has no price.
   */
  readonly costNanoUsd?: number;
  readonly callIds: readonly string[];
  readonly startedAt: string;
  readonly endedAt: string;
}
