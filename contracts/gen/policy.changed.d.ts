// Generated from contracts/audit/records/policy.changed.schema.json by `make generate`.

/**
 * The bundle under which calls are decided from here on.
 */
export interface PolicyChangedBody {
  readonly state: 'none' | 'active' | 'stale' | 'expired';
  readonly policyId?: string;
  readonly policyDigest?: `sha256:${string}`;
  readonly version?: number;
}
