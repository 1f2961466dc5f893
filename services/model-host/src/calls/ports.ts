import type { Validator } from '@zerolatency/contracts';
import type { ZlError } from '@zerolatency/errors';
import type { Deny, HeldDecision, PolicyRequest } from '@zerolatency/policy';
import type { Outcome, Receipt } from '@zerolatency/receipts';
import type { OnMasked } from '@zerolatency/redaction';
import type { Digest, Envelope } from '@zerolatency/signing';
import type {
  CallOptions,
  ToolArguments,
  ToolDefinition,
  ToolResult,
  TurnScope,
} from '../ports.ts';

export interface ExecutorTool {
  readonly definition: ToolDefinition;
  readonly executor: Receipt['executor'];
  readonly server: string;
  readonly toolName: string;
  /** The policy decides by it; empty when the server states none. */
  readonly version: string;
  /** Where relative paths start, by argument: the contract names the arguments, and the device the folder. */
  readonly pathBases?: PolicyRequest['pathBases'];
  /** As the policy judges it: what the device says, or else the contract. */
  readonly statedEffects?: PolicyRequest['hasEffects'];
  /** As the device says. */
  readonly inSandbox?: PolicyRequest['inSandbox'];
  /** False while its server is down; the model does not see it then. */
  readonly isReady: boolean;
  /** The intent of such a call is durable before the call is sent. */
  readonly hasEffects: boolean;
  args(): Validator | { error: ZlError };
  readonly result: Validator | undefined;
}

export interface ExecutableCall {
  readonly callId: string;
  readonly tool: ExecutorTool;
  readonly args: ToolArguments;
  readonly argumentSalt: Uint8Array;
  readonly deadlineMs: number;
  /** The executor states an outcome by then; what it does not know is unknown. */
  readonly settleByMs: number;
  readonly maxBytes: number;
  /** SHA-256 of the policy bundle that allowed the call. */
  readonly policyDigest: Digest | undefined;
  readonly traceparent: string;
}

export interface ExecutionContext extends CallOptions {
  readonly scope: TurnScope;
  /** Unix time that does not step. */
  readonly nowMs: () => number;
  /**
   * Records the intent, which an executor awaits before the tool can act.
   * Returns undefined when there is nothing to wait for.
   */
  intend(target?: CallIntentTarget): Promise<void> | undefined;
}

/** The result of an MCP tools/call, as far as this host reads it. */
export interface McpResult {
  readonly isError?: unknown;
  readonly content?: unknown;
  readonly structuredContent?: unknown;
}

/** What a device stated about a call, its signature verified. */
export interface DeviceReceipt {
  readonly envelope: Envelope;
  readonly receipt: Receipt;
}

export interface Execution {
  readonly outcome: Outcome;
  /** False only where the tool was certainly not asked to act. */
  readonly wasSent: boolean;
  /** Set unless done. */
  readonly error?: ZlError;
  /** Set when done, except for a call recovered after a restart. */
  readonly result?: McpResult | undefined;
  /** The result as it arrived, where it arrived as JSON. */
  readonly resultText?: string | undefined;
  readonly resultDigest?: Digest;
  readonly device?: DeviceReceipt;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
  /** Called once, after the receipt was recorded or could not be. */
  release?(options: { readonly isRecorded: boolean }): void;
}

export interface ExecutorScope {
  tools(): ReadonlyMap<string, ExecutorTool>;
  /** Rejects only when the tool has not acted. */
  execute(call: ExecutableCall, context: ExecutionContext): Promise<Execution>;
}

/** A call that an earlier run of this host may have sent, as the ledger recorded it. */
export interface OpenCall {
  readonly facts: CallFacts;
  /** Undefined when the record does not name a journal to ask. */
  readonly target: CallIntentTarget | undefined;
}

export interface Executor {
  /** Rejects with the reason why the tools cannot be reached. */
  open(scope: TurnScope, signal: AbortSignal): Promise<ExecutorScope>;
  /** Asks about an open call and stops it if it still runs; undefined when nobody can know. */
  recover(call: OpenCall, waitMs: number): Promise<Execution> | undefined;
}

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

/** A call that has its outcome, and its receipt unless the ledger took none. */
export interface EndedCall {
  readonly callId: string;
  readonly tool: string;
  readonly executor: Receipt['executor'];
  readonly scope: TurnScope;
  /** Undefined for a call that ended before it was decided. */
  readonly decision: HeldDecision | undefined;
  readonly result: ToolResult;
  /** Unix time that does not step. */
  readonly startedMs: number;
  /** The receipt holds one of the device. */
  readonly isSignedByDevice: boolean;
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
