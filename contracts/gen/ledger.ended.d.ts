// Generated from contracts/audit/records/ledger.ended.schema.json by `make generate`.

/**
 * From version 2 on. The last record of its ledger.
 */
export interface LedgerEndedBody {
  /**
   * Id of the ledger of the host that ended this one for a host that had stopped or was out of reach. Absent when its own host did.
   */
  readonly by?: string;
}
