// Generated from contracts/audit/records/call.intent.schema.json by `make generate`.

/**
 * Written before a call is sent. A call.receipt with the same callId closes it.
 */
export interface CallIntentBody {
  readonly callId: string;
  readonly tool: string;
  readonly argumentsDigest: `sha256:${string}`;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly sessionId?: string;
  readonly turnId?: string;
  readonly policyId?: string;
  readonly policyDigest?: `sha256:${string}`;
  readonly toolVersion?: string;
  /**
   * The limits the call runs under.
   */
  readonly caps?: {
    readonly timeoutMs?: number;
    readonly maxBytes?: number;
    readonly callsPerTurn?: number;
  };
  /**
   * Of the journal of the device that the call is meant for.
   */
  readonly journalId?: string;
  readonly requestDigest?: `sha256:${string}`;
  readonly deadlineUnixMs?: number;
}
