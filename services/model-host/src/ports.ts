import type { ZlError } from '@zerolatency/errors';
import type { Outcome } from '@zerolatency/receipts';

/** Who a turn acts for. Built from verified credentials only. */
export interface Identity {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
}

/** Who asks, and until when the proof of it holds. */
export interface ProvenIdentity {
  readonly identity: Identity;
  readonly expiresAtMs: number;
}

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

export interface ToolTiming {
  readonly totalUs: number;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}

export interface ToolResult {
  readonly outcome: Outcome;
  /** JSON as the tool gave it, secrets masked; empty unless done. */
  readonly resultJson: string;
  /** Set unless done. */
  readonly error?: ZlError;
  /** DSSE envelope, durable in the ledger by the time the result is told. */
  readonly receiptJson: string;
  readonly timing: ToolTiming;
}

/** A call that has its id, and has not been decided, validated or sent. */
export interface PreparedCall {
  readonly callId: string;
  readonly tool: string;
  /** Canonical, secrets masked: for events and logs. */
  readonly argumentsJson: string;
  readonly argumentsDigest: string;
  /** Never rejects: every ending is an outcome with a receipt. */
  run(options: {
    readonly signal: AbortSignal;
    readonly onProgress?: (receivedBytes: number) => void;
  }): Promise<ToolResult>;
}

/** The tools one turn may use. */
export interface Toolbox {
  readonly tools: readonly ToolDefinition[];
  prepare(tool: string, argumentsJson: string): PreparedCall;
}

export interface Toolboxes {
  /** An empty toolbox when the turn names no device. */
  open(scope: TurnScope, signal: AbortSignal): Promise<Toolbox>;
}

export interface TurnRecord {
  readonly scope: TurnScope;
  readonly outcome: 'done' | 'failed' | 'cancelled';
  readonly errorId?: string;
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly callIds: readonly string[];
  readonly startedAtMs: number;
  readonly endedAtMs: number;
}

export interface Recorder {
  /** Resolves with the record's audit id once it would survive a crash of the machine. */
  recordTurn(record: TurnRecord): Promise<string>;
}
