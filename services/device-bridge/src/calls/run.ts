import { type Context, ROOT_CONTEXT, type Span, trace } from '@opentelemetry/api';
import type { CalleeCall } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import type { Caps, HeldDecision } from '@zerolatency/policy';
import { argumentsDigest } from '@zerolatency/receipts';
import { extract, inject } from '@zerolatency/service/telemetry';
import { canonicalJson, type Digest } from '@zerolatency/signing';

interface RunContext {
  readonly span: Span | undefined;
  /** An upper bound, whatever the caller and the policy allow. */
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
  /** Whether the device offered the tool when the call arrived. */
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

  /** The largest result that the caller, the policy and the device all allow. */
  get maxBytes(): number {
    const most = this.#maxResultBytes;
    return Math.min(this.call.maxBytes || most, this.#caps.maxBytes ?? most, most);
  }

  /** How long the server may take: until the deadline, or less by policy or manifest. */
  timeoutMs(nowMs: number, serverTimeoutMs: number): number {
    const { timeoutMs = serverTimeoutMs } = this.#caps;
    return Math.max(1, Math.min(this.call.deadlineMs - nowMs, timeoutMs, serverTimeoutMs));
  }

  /** The trace context of everything logged about the call. */
  get context(): Context {
    if (this.span === undefined) return extract(this.call.traceparent);
    return trace.setSpan(ROOT_CONTEXT, this.span);
  }

  /** The parent of the server's own spans. */
  get traceparent(): string {
    return inject(this.context) || this.call.traceparent;
  }
}

export function microseconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) * 1000);
}

/** What a call asks of a server, as far as it could be parsed. */
export type ToolRequest = ReadableRequest | UnreadableRequest;

interface Named {
  /** Server and tool, as in policies and receipts. */
  readonly tool: string;
  readonly argumentsDigest: Digest;
}

interface ReadableRequest extends Named {
  readonly params: ToolParams;
  readonly error?: undefined;
}

interface UnreadableRequest extends Named {
  readonly params?: undefined;
  readonly error: ZlError;
}

export interface ToolParams {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });
/** A receipt holds no longer name. */
const MAX_TOOL_CHARS = 256;

export function readToolRequest(call: CalleeCall): ToolRequest {
  const { server, method, params, argumentSalt } = call;
  try {
    if (method !== 'tools/call') {
      const error = new ZlError('tool.unknown', `this bridge does not pass on ${method}`);
      return unreadable(call, error);
    }
    const { name, arguments: args } = parseParams(JSON.parse(UTF8.decode(params)));
    const tool = `${server}.${name}`;
    // Policies decide by the whole name, and the receipt must hold it.
    if (tool.length > MAX_TOOL_CHARS || !tool.isWellFormed()) throw noToolName();
    const digest = argumentsDigest(argumentSalt, canonicalJson(args));
    return { tool, argumentsDigest: digest, params: { name, arguments: args } };
  } catch (reason) {
    // Not JSON, or JSON nested too deep for a canonical form.
    const error =
      reason instanceof ZlError
        ? reason
        : new ZlError('tool.arguments_invalid', 'params are not JSON', { cause: reason });
    return unreadable(call, error);
  }
}

function parseParams(value: unknown): ToolParams {
  if (!isObject(value)) throw new ZlError('tool.arguments_invalid', 'params: must be an object');
  const { name, arguments: args = {} } = value;
  if (typeof name !== 'string' || name === '') throw noToolName();
  if (!isObject(args)) {
    throw new ZlError('tool.arguments_invalid', 'arguments: must be an object');
  }
  return { name, arguments: args };
}

function unreadable(
  { server, method, params, argumentSalt }: CalleeCall,
  error: ZlError,
): ToolRequest {
  const tool = `${server}.${method}`.slice(0, MAX_TOOL_CHARS).toWellFormed();
  return { tool, argumentsDigest: argumentsDigest(argumentSalt, params), error };
}

function noToolName(): ZlError {
  return new ZlError('tool.arguments_invalid', 'name: must be the name of a tool');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
