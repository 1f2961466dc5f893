// Generated from contracts/audit/records/policy.denied.schema.json by `make generate`.

/**
 * A call that policy did not allow.
 */
export interface PolicyDeniedBody {
  readonly callId: string;
  readonly tool: string;
  readonly argumentsDigest?: `sha256:${string}`;
  /**
   * 16 random bytes of this call, in hexadecimal. SHA-256 of them and the canonical arguments is the arguments digest; whoever erases this body erases the salt.
   */
  readonly argumentSalt?: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly turnId?: string;
  /**
   * Null when no rule allowed the call.
   */
  readonly ruleId: string | null;
  readonly reason: string;
  readonly policyId?: string;
  readonly policyDigest?: `sha256:${string}`;
}
