// Generated from contracts/audit/records/policy.withheld.schema.json by `make generate`.

/**
 * From version 2 on. Tools that were offered in a turn and kept from its model, because policy allows no call of them.
 */
export interface PolicyWithheldBody {
  readonly turnId: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly policyId?: string;
  readonly policyDigest?: `sha256:${string}`;
  /**
   * How many tools there are.
   */
  readonly count: number;
  /**
   * The first of them, at most 100.
   */
  readonly tools: readonly {
    readonly tool: string;
    /**
     * Null when no rule allows the tool.
     */
    readonly ruleId: string | null;
  }[];
}
