// Generated from contracts/audit/records/ledger.segment.schema.json by `make generate`.

/**
 * First record of every segment but the first: a summary of all records before it.
 */
export interface LedgerSegmentBody {
  /**
   * As record 0 names it.
   */
  readonly ledgerId: string;
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
    /**
     * The body of call.intent.
     */
    readonly body: {
      readonly [k: string]: unknown;
    };
  }[];
}
