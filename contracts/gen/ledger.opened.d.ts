// Generated from contracts/audit/records/ledger.opened.schema.json by `make generate`.

/**
 * Record 0 of every ledger.
 */
export interface LedgerOpenedBody {
  /**
   * 128 random bits. Every checkpoint and the first record of every later segment names it.
   */
  readonly ledgerId: string;
}
