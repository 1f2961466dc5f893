// Generated from contracts/policy/bundle.schema.json by `make generate`.

/**
 * Payload of a DSSE envelope of type application/vnd.zerolatency.policy.v1+json, in canonical JSON (RFC 8785). A call that no rule allows is denied. A deny wins over every escalation, and an escalation over every allow, whatever their order. A field that this version of the schema does not know is refused; a schema with a higher version is refused as newer.
 */
export interface Bundle {
  /**
   * v1 has no hasEffects and no inSandbox.
   */
  readonly schema: 'zerolatency.policy/v1' | 'zerolatency.policy/v2';
  /**
   * Names the policy. An installation follows one id and never goes back in its versions.
   */
  readonly id: string;
  readonly version: number;
  /**
   * UTC, RFC 3339.
   */
  readonly issuedAt: string;
  /**
   * At most 31 days after issuedAt, which bounds how long an attacker who withholds new bundles can keep a device on this one.
   */
  readonly expiresAt: string;
  /**
   * How long after expiresAt the rules marked duringGrace still allow. After that every tool is denied.
   */
  readonly graceMs?: number;
  readonly previousDigest?: `sha256:${string}`;
  /**
   * Devices whose calls are denied, whatever the rules say.
   */
  readonly revokedDevices?: readonly DeviceName[];
  readonly rules: readonly Rule[];
}
export interface DeviceName {
  readonly tenant: string;
  readonly device: string;
}
/**
 * Applies when all of its constraints hold. Where that cannot be decided (a path with dots, an unknown version), a deny or escalate rule applies and an allow rule does not.
 */
export interface Rule {
  readonly id: string;
  readonly description?: string;
  /**
   * escalate asks the approvers. A version without approvals denies the call.
   */
  readonly effect: 'allow' | 'deny' | 'escalate';
  /**
   * Server and tool, such as fs.read; * stands for any run of characters.
   */
  readonly tools: readonly string[];
  /**
   * Semver range for the version that the tool's MCP server reports.
   */
  readonly versions?: string;
  readonly tenants?: readonly string[];
  /**
   * The person has at least one of these.
   */
  readonly roles?: readonly string[];
  readonly users?: readonly string[];
  readonly devices?: readonly string[];
  /**
   * Whether the tool can change something, as the manifest of its device says. Cannot be decided by a host whose device does not say, for a tool without a contract.
   */
  readonly hasEffects?: boolean;
  /**
   * Whether the tool's server runs in a sandbox of its device. Cannot be decided by a host whose device does not say.
   */
  readonly inSandbox?: boolean;
  /**
   * From `from` (included) to `to` (excluded) in the time zone. When `to` is earlier than `from`, the window spans midnight and belongs to the day on which it began.
   */
  readonly hours?: {
    readonly from: string;
    readonly to: string;
    readonly days?: readonly ('mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun')[];
    /**
     * IANA name; UTC when left out.
     */
    readonly timeZone?: string;
  };
  /**
   * The argument of that name is an absolute path at or below one of the directories. Compared by segments. The device decides again on the real path of what the server opened, where the server reports it. A call without the argument cannot be decided, and a file with several hard links neither.
   */
  readonly paths?: {
    readonly argument: string;
    readonly within: readonly string[];
  };
  /**
   * The lowest of each cap among the allow rules that apply holds. Not on deny rules.
   */
  readonly caps?: {
    readonly timeoutMs?: number;
    readonly maxBytes?: number;
    /**
     * Calls of the same tool in one turn. Only the host enforces it, because a device sees no turns.
     */
    readonly callsPerTurn?: number;
  };
  /**
   * Who may approve a call that this rule escalates: a user named here, or one with one of these roles. Every escalate rule needs it, and no other rule has it.
   */
  readonly approvers?: {
    readonly roles?: readonly string[];
    readonly users?: readonly string[];
  };
  /**
   * The only hosts that the tool may connect to while it runs. Not on deny rules. An allow rule with it applies only where the executor can enforce it; no executor of this version can.
   */
  readonly egress?: readonly string[];
  /**
   * A condition, reserved for a later version. This version cannot evaluate it: an allow rule with it does not apply, a deny or escalate rule does.
   */
  readonly when?: {
    readonly language: 'cedar';
    readonly source: string;
  };
  /**
   * Still allows while the bundle is stale. Only on allow rules; the others hold in grace as well.
   */
  readonly duringGrace?: boolean;
}
