import type { McpRequest } from './request-digest.ts';

/** Names the PROGRESS frame among the features of a call. */
export const PROGRESS_FEATURE = 'progress';

/** Progress of a running tool, in units of its own. */
export interface CallProgress {
  readonly progress: number;
  readonly total?: number;
  readonly message?: string;
}

/** Who asked. Both ends' policies decide over these. */
export interface Principal {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
}

/** What both ends know of a call, apart from where and when. */
export interface CallRequest extends McpRequest {
  /** 32 hexadecimal digits. */
  readonly callId: string;
  /** Absolute; the callee does not run the call after it. */
  readonly deadlineMs: number;
  /** Upper bound on the result. */
  readonly maxBytes: number;
  /** SHA-256 of the policy bundle under which the caller allowed the call. */
  readonly bundleDigest: Uint8Array;
  readonly principal: Principal;
  readonly traceparent: string;
}
