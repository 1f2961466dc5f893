// Generated from contracts/audit/records/call.intent.schema.json by `make generate`.

/**
 * Written before a call is sent. A call.receipt with the same callId closes it.
 */
export interface CallIntentBody {
  readonly callId: string;
  /**
   * What is to run the call.
   */
  readonly executor: 'device' | 'host';
  readonly tool: string;
  readonly argumentsDigest: `sha256:${string}`;
  /**
   * 16 random bytes of this call, in hexadecimal. SHA-256 of them and the canonical arguments is the arguments digest; whoever erases this body erases the salt.
   */
  readonly argumentSalt: string;
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
   * The journal of the device that the call is meant for.
   */
  readonly journalId?: string;
  readonly requestDigest?: `sha256:${string}`;
  readonly deadlineUnixMs?: number;
}
