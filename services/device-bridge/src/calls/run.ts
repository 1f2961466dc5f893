import { type Context, ROOT_CONTEXT, type Span, trace } from '@opentelemetry/api';
import type { CalleeCall } from '@zerolatency/call';
import type { Caps, HeldDecision } from '@zerolatency/policy';
import { extract, inject } from '@zerolatency/service/telemetry';
import { readToolRequest, type ToolRequest } from './tool-request.ts';

interface RunContext {
  readonly span: Span | undefined;
  /** Whatever the caller and the policy allow. */
  readonly maxResultBytes: number;
}

/** One call on its way through the bridge. */
export class Run {
  readonly call: CalleeCall;
  readonly request: ToolRequest;
  readonly span: Span | undefined;
  readonly abort = new AbortController();
  readonly startedAt: string;
  readonly #startMs = performance.now();
  readonly #maxResultBytes: number;
  decision: HeldDecision | undefined;
  /** Whether the device offered the tool when it was asked for. */
  isOffered = false;
  serverUs = 0;

  constructor(call: CalleeCall, context: RunContext) {
    this.call = call;
    this.request = readToolRequest(call);
    this.span = context.span;
    this.#maxResultBytes = context.maxResultBytes;
    this.startedAt = new Date().toISOString();
  }

  get elapsedUs(): number {
    return microseconds(this.#startMs);
  }

  get #caps(): Caps {
    return this.decision?.effect === 'allow' ? this.decision.caps : {};
  }

  /** Of the result: what the caller takes, or less by policy or by what the device gives. */
  get maxBytes(): number {
    const most = this.#maxResultBytes;
    return Math.min(this.call.maxBytes || most, this.#caps.maxBytes ?? most, most);
  }

  /** For the server's answer: until the deadline, or less by policy or manifest. */
  timeoutMs(nowMs: number, serverTimeoutMs: number): number {
    const { timeoutMs = serverTimeoutMs } = this.#caps;
    return Math.max(1, Math.min(this.call.deadlineMs - nowMs, timeoutMs, serverTimeoutMs));
  }

  /** What is said of the call is said in its span. */
  get context(): Context {
    if (this.span === undefined) return extract(this.call.traceparent);
    return trace.setSpan(ROOT_CONTEXT, this.span);
  }

  /** What the server's own spans hang from. */
  get traceparent(): string {
    return inject(this.context) || this.call.traceparent;
  }
}

export function microseconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) * 1000);
}
