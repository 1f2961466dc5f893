import type { Deny } from '@zerolatency/policy';
import type { Outcome, Receipt } from '@zerolatency/receipts';
import type { OnMasked } from '@zerolatency/redaction';
import type { Envelope } from '@zerolatency/signing';

/** Known from the beginning of a call and part of its every record. */
export type CallFacts = Pick<
  Receipt,
  | 'executor'
  | 'callId'
  | 'tool'
  | 'toolVersion'
  | 'argumentsDigest'
  | 'caps'
  | 'startedAt'
  | 'policyId'
  | 'policyDigest'
  | 'deviceId'
  | 'tenant'
  | 'user'
  | 'turnId'
> & {
  /** For the ledger alone; the receipt holds the digest. */
  readonly argumentSalt: Uint8Array;
};

/** Whom to ask about a call after a restart, and about which request. */
export interface CallIntentTarget {
  readonly journalId: Uint8Array;
  readonly requestDigest: Uint8Array;
  readonly deadlineMs: number;
}

export interface CallLedger {
  /**
   * Recorded before the call is sent. With `durable` it resolves once the record
   * would survive a crash of the machine; otherwise the record only precedes all
   * later ones and there is nothing to wait for. Throws or rejects ledger.failed.
   */
  intend(
    facts: CallFacts,
    target: CallIntentTarget | undefined,
    durable: boolean,
  ): Promise<void> | undefined;
  /** Precedes the call's receipt, which makes it durable. */
  denied(facts: CallFacts, by: Pick<Deny, 'ruleId' | 'reason'>): void;
  /** Resolves once it would survive a crash of the machine. */
  conclude(call: Pick<CallFacts, 'callId' | 'argumentSalt'>, receipt: Envelope): Promise<void>;
}

export interface ToolMetrics {
  running(change: 1 | -1): void;
  resumed(): void;
  decided(effect: 'allow' | 'deny' | 'escalate', ms: number): void;
  ended(call: { tool: string; outcome: Outcome; errorId: string; ms: number }): void;
  /** device: without the time the bridge took; server: with the MCP server. */
  roundTrip(hop: 'device' | 'server', ms: number): void;
  readonly masked: OnMasked;
}

/** The host's own bounds; the policy's caps narrow them. */
export type ToolLimits = Readonly<typeof DEFAULT_TOOL_LIMITS>;

export const DEFAULT_TOOL_LIMITS = {
  timeoutMs: 30_000,
  maxBytes: 1024 * 1024,
  callsPerTurn: 100,
  /** After its deadline a call waits this long for an outcome before it is unknown. */
  graceMs: 2000,
};
