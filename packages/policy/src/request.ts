import type { ErrorId } from '@zerolatency/errors';
import type { Caps } from './bundle.ts';

/** One tool call, with what is known from verified credentials about who asks. */
export interface PolicyRequest {
  /** Server and tool, such as fs.read. */
  readonly tool: string;
  /** Of the tool's contract; empty when it has none. */
  readonly version: string;
  readonly arguments: unknown;
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
  readonly deviceId: string;
  readonly nowMs: number;
  /** Calls of the same tool that this turn made before. A device sees no turns and says 0. */
  readonly callsThisTurn: number;
}

export interface Allow {
  readonly effect: 'allow';
  /** The first rule of the bundle that allows it. */
  readonly ruleId: string;
  /** The tightest of all rules that allow it. */
  readonly caps: Caps;
}

export interface Deny {
  readonly effect: 'deny';
  /** Null where it is for want of a rule. */
  readonly ruleId: string | null;
  readonly reason: string;
  readonly errorId: Extract<ErrorId, 'policy.denied' | 'policy.unavailable'>;
}

export type Decision = Allow | Deny;
