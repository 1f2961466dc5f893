// Generated from contracts/audit/records/ledger.segment.schema.json by `make generate`.

/**
 * First record of every segment: what there is to know of all records before it.
 */
export interface LedgerSegmentBody {
  /**
   * Roots of the perfect subtrees over all earlier records, largest first.
   */
  readonly frontier: readonly string[];
  /**
   * Intents without a receipt, with the index and time of their records.
   */
  readonly openIntents: readonly {
    readonly index: number;
    readonly at: string;
    readonly body: IntentBody;
  }[];
}
export interface IntentBody {
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
  /**
   * Of the journal of the device that the call is meant for.
   */
  readonly journalId?: string;
  readonly deadlineUnixMs?: number;
}
