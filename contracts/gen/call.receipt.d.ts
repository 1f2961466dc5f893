// Generated from contracts/audit/records/call.receipt.schema.json by `make generate`.

/**
 * How a call ended.
 */
export interface CallReceiptBody {
  readonly callId: string;
  /**
   * 16 random bytes of this call, in hexadecimal. SHA-256 of them and the canonical arguments is the arguments digest; whoever erases this body erases the salt.
   */
  readonly argumentSalt: string;
  /**
   * The host's DSSE envelope; its payload follows receipt.schema.json.
   */
  readonly receipt: {
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
