// Generated from contracts/console/overview.schema.json by `make generate`.

/**
 * Answer of the model-host's admin listener to /console/overview.json. Texts of peers are cut, on one line, and without characters that hide or reorder text; they may hold markup all the same. Names, figures and error ids only: no message, no argument and no result of a tool.
 */
export interface ConsoleOverview {
  readonly at: string;
  readonly subject: Subject;
  /**
   * Who had the turns that are shown, latest first.
   */
  readonly subjects: readonly Subject[];
  readonly policy: Policy;
  /**
   * To relay pods.
   */
  readonly links: readonly Link[];
  readonly devices: Devices;
  /**
   * Latest first; also those that run.
   */
  readonly turns: readonly Turn[];
}
/**
 * For whom the policy decides.
 */
export interface Subject {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
}
export interface Policy {
  readonly state: 'none' | 'active' | 'stale' | 'expired';
  /**
   * Empty without a bundle.
   */
  readonly name: string;
  readonly rules: number;
  readonly expiresAt?: string;
}
export interface Link {
  readonly url: string;
  readonly state: 'idle' | 'dialling' | 'live' | 'draining' | 'lost' | 'closed';
  /**
   * That this host has open on the link.
   */
  readonly devices: number;
}
/**
 * Of the subject's tenant, as a relay lists them now.
 */
export interface Devices {
  readonly list: readonly Device[];
  /**
   * Some devices or tools are not listed here.
   */
  readonly hasMore: boolean;
  readonly error?: Error;
}
export interface Device {
  readonly deviceId: string;
  readonly relayId: string;
  readonly bridgeVersion: string;
  readonly connectedAt?: string;
  /**
   * By the bundle in force.
   */
  readonly isRevoked: boolean;
  readonly servers: readonly Server[];
}
export interface Server {
  readonly name: string;
  readonly version: string;
  readonly state: 'unknown' | 'starting' | 'ready' | 'failed';
  readonly containment: 'unknown' | 'sandbox' | 'cgroup' | 'process group';
  readonly isUnpinned: boolean;
  readonly tools: readonly Tool[];
}
export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly effects: 'unknown' | 'none' | 'some';
  readonly decision: Decision;
}
/**
 * What the policy says of a call of the tool.
 */
export interface Decision {
  readonly effect: 'allow' | 'deny' | 'escalate';
  /**
   * Empty when no single rule decides.
   */
  readonly ruleId: string;
  /**
   * Empty when allowed.
   */
  readonly reason: string;
  /**
   * Rules of the tool name folders, so single calls may be denied.
   */
  readonly isByPath: boolean;
}
/**
 * Why they are unknown.
 */
export interface Error {
  readonly id: string;
  readonly message: string;
}
export interface Turn {
  readonly turnId: string;
  readonly sessionId: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId: string;
  readonly model: string;
  readonly startedAt: string;
  readonly outcome: 'running' | 'done' | 'failed' | 'cancelled';
  /**
   * Empty unless failed or cancelled.
   */
  readonly errorId: string;
  /**
   * In the ledger.
   */
  readonly isRecorded: boolean;
  /**
   * So far, or in all.
   */
  readonly elapsedUs: number;
  readonly phases: readonly Phase[];
  readonly calls: readonly Call[];
  readonly callsLeftOut: number;
}
export interface Phase {
  readonly name: 'admitted' | 'planning' | 'acting' | 'reflecting' | 'critiquing' | 'responding';
  /**
   * Since the turn began.
   */
  readonly startUs: number;
  readonly elapsedUs: number;
  /**
   * Until the model's first part.
   */
  readonly firstPartUs?: number;
}
/**
 * Each of its times holds the next one: host, to the device and back, bridge, MCP server.
 */
export interface Call {
  readonly callId: string;
  readonly tool: string;
  readonly outcome: 'done' | 'failed' | 'denied' | 'cancelled' | 'unknown';
  /**
   * Empty when done.
   */
  readonly errorId: string;
  /**
   * Undecided: the call ended before.
   */
  readonly effect: 'allow' | 'deny' | 'escalate' | 'undecided';
  readonly ruleId: string;
  /**
   * Whose signatures the receipt in the ledger has; missing: the ledger took none.
   */
  readonly receipt: 'host and device' | 'host' | 'missing';
  /**
   * Since the turn began.
   */
  readonly startUs: number;
  readonly totalUs: number;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}
