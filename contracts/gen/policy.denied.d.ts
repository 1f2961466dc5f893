// Generated from contracts/audit/records/policy.denied.schema.json by `make generate`.

/**
 * A call that policy did not allow.
 */
export interface PolicyDeniedBody {
  readonly callId: string;
  readonly tool: string;
  readonly argumentsDigest?: `sha256:${string}`;
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
