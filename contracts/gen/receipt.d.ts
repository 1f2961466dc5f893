// Generated from contracts/audit/receipt.schema.json by `make generate`.

/**
 * Payload of a DSSE envelope of type application/vnd.zerolatency.receipt.v1+json: what one end of a call states about it. A new field or value is a new version of the type; readers accept every version up to their own.
 */
export interface Receipt {
  /**
   * Which end signed.
   */
  readonly role: 'host' | 'device';
  /**
   * What ran the call, or would have run it.
   */
  readonly executor: 'device' | 'host';
  readonly callId: string;
  readonly tool: string;
  readonly toolVersion?: string;
  readonly argumentsDigest: `sha256:${string}`;
  readonly resultDigest?: `sha256:${string}`;
  readonly outcome: 'done' | 'failed' | 'denied' | 'cancelled' | 'unknown';
  /**
   * An id of the error catalogue.
   */
  readonly errorId?: string;
  /**
   * The limits the call ran under.
   */
  readonly caps: {
    readonly timeoutMs?: number;
    readonly maxBytes?: number;
    readonly callsPerTurn?: number;
  };
  readonly elapsedUs: number;
  readonly startedAt: string;
  /**
   * Absent when no bundle was valid.
   */
  readonly policyId?: string;
  readonly policyDigest?: `sha256:${string}`;
  readonly deviceId?: string;
  readonly tenant: string;
  readonly user: string;
  readonly turnId?: string;
  /**
   * The device's own receipt, in the host's only.
   */
  readonly device?: {
    readonly payloadType: string;
    /**
     * Base64.
     */
    readonly payload: string;
    readonly signatures: readonly {
      readonly keyid: string;
      /**
       * Base64.
       */
      readonly sig: string;
    }[];
  };
}
