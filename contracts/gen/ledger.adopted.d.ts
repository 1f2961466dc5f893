// Generated from contracts/audit/records/ledger.adopted.schema.json by `make generate`.

/**
 * From version 2 on. A host found records after a crash that no checkpoint had covered, and goes on with them. They are the ones before this record.
 */
export interface LedgerAdoptedBody {
  /**
   * How many there were.
   */
  readonly records: number;
}
