// Generated from contracts/audit/record.schema.json by `make generate`.

/**
 * One line of a segment: canonical JSON (RFC 8785). Its leaf hash is SHA-256 of 0x00 and the line without its line feed (RFC 6962).
 */
export interface LedgerRecord {
  /**
   * A new kind or field is a new version; readers accept every version up to their own.
   */
  readonly v: 1 | 2;
  readonly index: number;
  readonly at: string;
  /**
   * Names the schema of the body in records/.
   */
  readonly kind:
    | 'call.intent'
    | 'call.receipt'
    | 'turn'
    | 'policy.denied'
    | 'policy.changed'
    | 'host.started'
    | 'host.stopped'
    | 'ledger.opened'
    | 'ledger.segment'
    | 'ledger.adopted'
    | 'policy.withheld'
    | 'ledger.ended';
  /**
   * Leaf hash of the record before; zeros in the first.
   */
  readonly prev: string;
  /**
   * How many records were on disk when this one was written.
   */
  readonly synced: number;
  readonly body: {
    readonly [k: string]: unknown;
  };
}
