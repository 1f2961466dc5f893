import type { Happened, ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';
import type { Outcome } from '@zerolatency/receipts';
import type { Digest } from '@zerolatency/signing';

/** What a turn knows about itself wherever it goes: log lines, calls, audit. */
export interface TurnScope {
  readonly identity: Identity;
  readonly sessionId: string;
  readonly turnId: string;
  readonly deviceId: string;
}

export interface ToolDefinition {
  /** Server and tool, such as fs.read. */
  readonly name: string;
  readonly description: string;
  readonly inputSchema: unknown;
}

export interface ToolResult {
  readonly outcome: Outcome;
  /** By the call and the turns nested in it. */
  readonly happened: Happened;
  /** What the model reads, secrets masked; empty unless done. */
  readonly text: string;
  /** The MCP result as JSON, secrets masked; empty unless done. */
  readonly resultJson: string;
  /** Set unless done. */
  readonly error?: ZlError;
  /** DSSE envelope, durable in the ledger before the result is reported; empty when the ledger took none. */
  readonly receiptJson: string;
  readonly totalUs: number;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}

/** The arguments of a call as the model wrote them, parsed once. */
export interface ToolArguments {
  readonly value: unknown;
  /** Canonical JSON; as written when the arguments are unreadable. */
  readonly text: string;
  /** Set when the arguments are not one JSON object within bounds. */
  readonly error?: ZlError;
}

export interface ToolCallProgress {
  readonly receivedBytes: number;
  /** As the tool reports it; progress and total are in units of its own. */
  readonly message?: string;
  readonly progress?: number;
  readonly total?: number;
}

/** How a turn ended that a tool started. */
export interface NestedTurn {
  readonly outcome: 'done' | 'failed' | 'cancelled';
  readonly happened: Happened;
  /** The answer; empty unless done. */
  readonly text: string;
  /** Set unless done. */
  readonly error?: ZlError;
}

export interface NestedTask {
  readonly text: string;
  /** Alias; that of the outer turn when absent or empty. */
  readonly model?: string;
  /** Before the instructions that every turn gives its model. */
  readonly prompt?: string;
  /** Those that its model may see and call; all of the outer turn's when absent. */
  readonly tools?: readonly string[];
}

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ToolCallProgress) => void;
  /** Called once, with what the model may read while the receipt is being written. */
  readonly onSettled?: (settled: SettledCall) => void;
  /** Runs a turn inside the call, at the cost of its own: how an agent is offered as a tool. */
  readonly startTurn?: (task: NestedTask, signal: AbortSignal) => Promise<NestedTurn>;
}

export type SettledCall = Pick<ToolResult, 'outcome' | 'text' | 'error'>;

/** A call that has its id and was neither decided, validated nor sent. */
export interface PreparedCall {
  readonly callId: string;
  readonly tool: string;
  /** Canonical, secrets masked: for events and logs. */
  readonly argumentsJson: string;
  readonly argumentsDigest: string;
  /** Never rejects: every call ends with an outcome and a receipt. */
  run(options: CallOptions): Promise<ToolResult>;
}

/** Offered tools of which policy allows no call. */
export interface WithheldTools {
  /** Both undefined without a bundle. */
  readonly policyId?: string;
  readonly policyDigest?: Digest;
  readonly tools: readonly WithheldTool[];
}

export interface WithheldTool {
  readonly tool: string;
  /** Null when no rule allows the tool. */
  readonly ruleId: string | null;
  readonly reason: string;
}

export interface Toolbox {
  readonly tools: readonly ToolDefinition[];
  /** Undefined when there are none. */
  readonly withheld?: WithheldTools | undefined;
  prepare(tool: string, args: ToolArguments): PreparedCall;
}

/** How often each tool was called by a turn and the turns nested in it, which share the map. */
export type CallCounts = Map<string, number>;

export interface ToolboxOptions {
  readonly counts?: CallCounts;
  /** Other tools do not exist for the turn. Undefined: all may be seen and called. */
  readonly tools?: readonly string[] | undefined;
}

export interface Toolboxes {
  open(scope: TurnScope, signal: AbortSignal, options?: ToolboxOptions): Promise<Toolbox>;
}

export interface TurnRecord {
  readonly scope: TurnScope;
  /** The call that started a nested turn. */
  readonly parentCallId?: string | undefined;
  readonly outcome: 'done' | 'failed' | 'cancelled';
  readonly errorId?: string;
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Absent when it is unknown. */
  readonly costNanoUsd?: number;
  readonly callIds: readonly string[];
  readonly startedAtMs: number;
  readonly endedAtMs: number;
}

export interface Recorder {
  /** Resolves with the record's audit id once it would survive a crash of the machine. */
  recordTurn(record: TurnRecord): Promise<string>;
  /** A signed note that covers every turn recorded so far; empty while nothing is recorded. */
  checkpoint(): Promise<string>;
  /** Precedes the record of the turn, which makes it durable. @throws ledger.failed */
  recordWithheld(scope: TurnScope, withheld: WithheldTools): void;
}
