// Generated from contracts/policy/bundle.schema.json by `make generate`.

/**
 * Payload of a DSSE envelope of type application/vnd.zerolatency.policy.v1+json, in canonical JSON (RFC 8785). A call that no rule allows is denied, and a deny wins over any number of allows, whatever their order.
 */
export interface Bundle {
  readonly schema: 'zerolatency.policy/v1';
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
   * At most 31 days after issuedAt, so that nobody can be kept on an old bundle for long.
   */
  readonly expiresAt: string;
  /**
   * For so long after expiresAt the rules marked duringGrace still allow. Then nothing is allowed.
   */
  readonly graceMs?: number;
  readonly rules: readonly Rule[];
}
/**
 * Applies when all of its constraints do. What cannot be told for sure (a path with dots, an unknown version) makes a deny rule apply and an allow rule not.
 */
export interface Rule {
  readonly id: string;
  readonly description?: string;
  readonly effect: 'allow' | 'deny';
  /**
   * Server and tool, such as fs.read; * stands for any run of characters.
   */
  readonly tools: readonly string[];
  /**
   * Semver range of the tool's contract version.
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
   * From from (included) to to (not included) by the clock of the time zone. Where to is the earlier one, the window runs over midnight and belongs to the day it began on.
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
   * The argument of that name is an absolute path at or below one of the directories. Compared by its segments; the tool's own server looks at links. A call without the argument is outside.
   */
  readonly paths?: {
    readonly argument: string;
    readonly within: readonly string[];
  };
  /**
   * Of several allow rules that apply, the tightest of each cap holds.
   */
  readonly caps?: {
    readonly timeoutMs?: number;
    readonly maxBytes?: number;
    /**
     * Calls of the same tool in one turn. Held by the host; a device sees no turns.
     */
    readonly callsPerTurn?: number;
  };
  /**
   * Still allows while the bundle is stale. Only on allow rules; a deny rule always holds.
   */
  readonly duringGrace?: boolean;
}
