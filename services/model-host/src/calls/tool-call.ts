import { randomBytes } from 'node:crypto';
import { SpanStatusCode, type Tracer } from '@opentelemetry/api';
import { fromUnknown, type Happened, mostOf, ZlError } from '@zerolatency/errors';
import { type Caps, type HeldDecision, tighter } from '@zerolatency/policy';
import { argumentsDigest, newArgumentSalt } from '@zerolatency/receipts';
import { maskJson, maskText, type OnMasked } from '@zerolatency/redaction';
import { inSpan } from '@zerolatency/service/telemetry';
import { canonicalText, type Digest, type Signer } from '@zerolatency/signing';
import type {
  CallOptions,
  NestedTask,
  PreparedCall,
  ToolArguments,
  ToolResult,
  TurnScope,
} from '../ports.ts';
import type {
  CallFacts,
  CallLedger,
  EndedCall,
  ExecutableCall,
  Execution,
  ExecutionContext,
  ExecutorScope,
  ExecutorTool,
  ToolLimits,
  ToolMetrics,
} from './ports.ts';
import {
  EffectTracker,
  mayHaveRun,
  recordCall,
  type Settlement,
  settle,
  settledHere,
  settledUnknown,
} from './settle.ts';

export interface ToolCallDeps {
  readonly scope: TurnScope;
  readonly decide: (tool: string, found: ExecutorTool | undefined, args: unknown) => HeldDecision;
  readonly find: (tool: string) => { tool: ExecutorTool; executor: ExecutorScope } | undefined;
  readonly ledger: CallLedger;
  readonly signer: Signer;
  readonly limits: ToolLimits;
  /** Counts a call of the tenant and the user. @throws limit.exceeded */
  readonly charge: () => Promise<void>;
  readonly metrics: ToolMetrics;
  readonly onEnded: (call: EndedCall) => void;
  /** Unix time that does not step. */
  readonly nowMs: () => number;
  /** Gives each call a span, which its executor continues. */
  readonly tracer: Tracer | undefined;
  readonly traceparent: () => string;
}

/** A model may ask for anything; a receipt names it within bounds. */
const MAX_NAME_CHARS = 200;

/**
 * One tool call, whoever executes it:
 * decide -> validate -> intent -> execute -> settle -> record.
 */
export class ToolCall implements PreparedCall {
  readonly callId = randomBytes(16).toString('hex');
  readonly tool: string;
  readonly argumentsJson: string;
  readonly argumentsDigest: Digest;
  readonly #argumentSalt = newArgumentSalt();
  readonly #deps: ToolCallDeps;
  readonly #args: ToolArguments;
  readonly #nestedTurns = new EffectTracker();
  #startedMs = 0;
  #found: ExecutorTool | undefined;
  #decision: HeldDecision | undefined;
  #execution: Execution | undefined;

  constructor(deps: ToolCallDeps, tool: string, args: ToolArguments) {
    this.#deps = deps;
    this.#args = args;
    this.tool = tool.slice(0, MAX_NAME_CHARS).toWellFormed() || '(unnamed)';
    this.argumentsJson = maskedArguments(args, deps.metrics.masked);
    this.argumentsDigest = argumentsDigest(this.#argumentSalt, Buffer.from(args.text));
  }

  run(options: CallOptions): Promise<ToolResult> {
    const { tracer, scope } = this.#deps;
    if (tracer === undefined) return this.#run(options);
    const attributes = {
      call_id: this.callId,
      tool: this.tool,
      tenant: scope.identity.tenant,
      session_id: scope.sessionId,
      turn_id: scope.turnId,
      device_id: scope.deviceId,
    };
    return inSpan(tracer, 'tool.call', { kind: 'client', attributes }, async (span) => {
      const result = await this.#run(options);
      span.setAttribute('outcome', result.outcome);
      if (result.error !== undefined) span.setAttribute('error.type', result.error.id);
      if (result.outcome !== 'done') span.setStatus({ code: SpanStatusCode.ERROR });
      return result;
    });
  }

  async #run(options: CallOptions): Promise<ToolResult> {
    const { metrics, nowMs, onEnded, scope } = this.#deps;
    this.#startedMs = nowMs();
    metrics.running(1);
    const settlement = await this.#attempt(options);
    const result = await this.#record(settlement, options);
    metrics.running(-1);
    this.#count(result);
    const { callId, tool } = this;
    const isSignedByDevice = settlement.device !== undefined;
    onEnded({
      ...{ callId, tool, executor: this.#executor, scope, decision: this.#decision, result },
      ...{ startedMs: this.#startedMs, isSignedByDevice },
    });
    return result;
  }

  /** Up to the socket it awaits only what it must: the ledger, a route. */
  async #attempt(options: CallOptions): Promise<Settlement> {
    const { signal } = options;
    try {
      const found = this.#deps.find(this.tool);
      this.#found = found?.tool;
      const decision = this.#decide();
      if (decision.effect !== 'allow') {
        const reason = `${this.tool}: ${decision.reason}`;
        return settledHere('denied', new ZlError(decision.errorId, reason));
      }
      if (found === undefined) throw new ZlError('tool.unknown', `no tool ${this.tool}`);
      this.#validate(found.tool);
      await this.#deps.charge();
      signal.throwIfAborted();
      const call = this.#executable(found.tool);
      this.#execution = await this.#execute(found.executor, call, options);
    } catch (reason) {
      return this.#notExecuted(reason, signal);
    }
    return this.#settle(this.#execution, signal);
  }

  #decide(): HeldDecision {
    const { decide, ledger } = this.#deps;
    const decision = decide(this.tool, this.#found, this.#args.value);
    this.#decision = decision;
    if (decision.effect !== 'allow') ledger.denied(this.#facts(), decision);
    return decision;
  }

  #validate(tool: ExecutorTool): void {
    const { error, value } = this.#args;
    if (error !== undefined) {
      throw new ZlError(error.id, `arguments of ${this.tool} ${error.message}`, { cause: error });
    }
    const validator = tool.args();
    if ('error' in validator) throw validator.error;
    const fault = validator.validate(value).error;
    if (fault === undefined) return;
    throw new ZlError('tool.arguments_invalid', `arguments of ${this.tool}: ${fault.message}`);
  }

  #executable(tool: ExecutorTool): ExecutableCall {
    const { limits, nowMs, traceparent } = this.#deps;
    const { timeoutMs, maxBytes } = this.#caps();
    const deadlineMs = nowMs() + timeoutMs;
    return {
      callId: this.callId,
      tool,
      args: this.#args,
      argumentSalt: this.#argumentSalt,
      deadlineMs,
      settleByMs: deadlineMs + limits.graceMs,
      maxBytes,
      policyDigest: asDigest(this.#decision?.policyDigest),
      traceparent: traceparent(),
    };
  }

  async #execute(
    executor: ExecutorScope,
    call: ExecutableCall,
    options: CallOptions,
  ): Promise<Execution> {
    const { scope, nowMs, ledger, metrics } = this.#deps;
    const { tool } = call;
    const { signal, startTurn } = options;
    const over = new AbortController();
    const bounded = (signal: AbortSignal): ExecutionContext =>
      boundedContext(
        {
          ...options,
          ...(startTurn && {
            startTurn: (...turn) => this.#nestedTurns.during(startTurn(...turn)),
          }),
          signal,
          scope,
          nowMs,
          intend: (target) => ledger.intend(this.#facts(), target, tool.hasEffects),
        },
        { over: over.signal, onMasked: metrics.masked },
      );
    const execute = (until: AbortSignal) => executor.execute(call, bounded(until));
    try {
      // The call protocol keeps the deadline of a device's call.
      if (tool.executor === 'device') return await execute(signal);
      return await withDeadline(execute, { call, nowMs, signal });
    } finally {
      over.abort(CALL_IS_OVER);
    }
  }

  #notExecuted(cause: unknown, signal: AbortSignal): Settlement {
    const { masked } = this.#deps.metrics;
    if (!signal.aborted) return settledHere('failed', fromUnknown(cause), masked);
    const message = 'the call was cancelled before it was sent';
    return settledHere('cancelled', new ZlError('call.cancelled', message, { cause }));
  }

  #settle(execution: Execution, signal: AbortSignal): Settlement {
    const { masked } = this.#deps.metrics;
    try {
      return settle(execution, {
        tool: this.tool,
        schema: this.#found?.result,
        onMasked: masked,
        isCancelled: signal.aborted,
      });
    } catch (cause) {
      // The tool has run, and a defect of ours must not lose its receipt.
      const error = new ZlError('call.unknown_outcome', fromUnknown(cause).message, { cause });
      return settledUnknown(error, masked);
    }
  }

  async #record(settlement: Settlement, { onSettled }: CallOptions): Promise<ToolResult> {
    const { signer, ledger } = this.#deps;
    const elapsedUs = () => this.#elapsedUs();
    const facts = this.#facts();
    const recorded = await recordCall({
      ...{ facts, settlement, elapsedUs, signer, ledger, onSettled },
    });
    this.#execution?.release?.({ isRecorded: recorded.receiptJson !== '' });
    const { wasSent, error, ...result } = recorded;
    const happened = mostOf(this.#nestedTurns.happened, this.#happened(recorded));
    return { ...result, happened, ...(error && { error: error.after(happened) }) };
  }

  #happened(recorded: Pick<Execution, 'outcome' | 'wasSent'>): Happened {
    if (!mayHaveRun(recorded)) return 'nothing';
    return this.#found?.hasEffects === false ? 'no effects' : 'may have run';
  }

  #count({ outcome, error, totalUs, remoteUs, deviceUs }: ToolResult): void {
    const { metrics } = this.#deps;
    // A name that the model invented must not become a label.
    const tool = this.#found === undefined ? 'other' : this.tool;
    metrics.ended({ tool, outcome, errorId: error?.id ?? '', ms: totalUs / 1000 });
    if (outcome !== 'done' || this.#found?.executor !== 'device') return;
    metrics.roundTrip('device', Math.max(0, remoteUs - deviceUs) / 1000);
    metrics.roundTrip('server', remoteUs / 1000);
  }

  #facts(): CallFacts {
    const { identity, deviceId, turnId } = this.#deps.scope;
    const { callId, tool, argumentsDigest } = this;
    const executor = this.#executor;
    return {
      executor,
      callId,
      tool,
      argumentsDigest,
      argumentSalt: this.#argumentSalt,
      toolVersion: this.#found?.version || undefined,
      caps: this.#caps(),
      startedAt: new Date(this.#startedMs).toISOString(),
      policyId: this.#decision?.policyId || undefined,
      policyDigest: asDigest(this.#decision?.policyDigest),
      deviceId: executor === 'device' ? deviceId : undefined,
      tenant: identity.tenant,
      user: identity.user,
      turnId: turnId || undefined,
    };
  }

  get #executor(): CallFacts['executor'] {
    return this.#found?.executor ?? (this.#deps.scope.deviceId === '' ? 'host' : 'device');
  }

  /** The host's bounds, narrowed by the policy. */
  #caps(): Required<Caps> {
    const { timeoutMs, maxBytes, callsPerTurn } = this.#deps.limits;
    const bounds = { timeoutMs, maxBytes, callsPerTurn };
    const decision = this.#decision;
    return decision?.effect === 'allow' ? { ...bounds, ...tighter(bounds, decision.caps) } : bounds;
  }

  #elapsedUs(): number {
    return Math.max(0, Math.round((this.#deps.nowMs() - this.#startedMs) * 1000));
  }
}

function maskedArguments({ value, text, error }: ToolArguments, onMasked: OnMasked): string {
  if (error !== undefined) return JSON.stringify(maskText(text, { onMasked }).text);
  return canonicalText(maskJson(value, { onMasked }));
}

function asDigest(text: string | undefined): Digest | undefined {
  return text?.startsWith('sha256:') ? `sha256:${text.slice('sha256:'.length)}` : undefined;
}

// One for all, because creating an error is costly.
const CALL_IS_OVER = new ZlError('call.cancelled', 'the call is over');

/** More than anyone reads; each costs masking and an event. */
const MAX_REPORTS_PER_SECOND = 20;

interface ContextBounds {
  readonly over: AbortSignal;
  readonly onMasked: OnMasked;
}

/** A tool that goes on after its call has no effect on the ledger, the budget or the events. */
function boundedContext(
  context: ExecutionContext,
  { over, onMasked }: ContextBounds,
): ExecutionContext {
  const { intend, onProgress, startTurn, signal, nowMs } = context;
  let second = 0;
  let reports = 0;
  const isTooMany = () => {
    const now = Math.floor(nowMs() / 1000);
    reports = now === second ? reports + 1 : 1;
    second = now;
    return reports > MAX_REPORTS_PER_SECOND;
  };
  return {
    ...context,
    intend(target) {
      over.throwIfAborted();
      return intend(target);
    },
    onProgress({ message, ...progress }) {
      if (over.aborted || onProgress === undefined) return;
      if (message === undefined && progress.progress === undefined) onProgress(progress);
      else if (isTooMany()) return;
      else if (message === undefined) onProgress(progress);
      else onProgress({ ...progress, message: maskText(message, { onMasked }).text });
    },
    ...(startTurn && {
      async startTurn(task: NestedTask, given: AbortSignal) {
        over.throwIfAborted();
        return startTurn(task, AbortSignal.any([given, signal, over]));
      },
    }),
  };
}

interface Deadline {
  readonly call: ExecutableCall;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
}

const NO_TIMES = { remoteUs: 0, deviceUs: 0, serverUs: 0 };

/** Stops the execution at its deadline; one that does not stop within the grace is unknown. */
async function withDeadline(
  execute: (signal: AbortSignal) => Promise<Execution>,
  { call, signal: cancelled, nowMs }: Deadline,
): Promise<Execution> {
  const { deadlineMs, settleByMs, tool } = call;
  const name = tool.definition.name;
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new ZlError('tool.timeout', `${name} did not finish in time`));
  }, deadlineMs - nowMs());
  const signal = AbortSignal.any([cancelled, late.signal]);
  const abandoned = Promise.withResolvers<Execution>();
  let grace: NodeJS.Timeout | undefined;
  const onStop = () => {
    const error = new ZlError('call.unknown_outcome', `${name} did not stop when it was aborted`);
    const unknown = { outcome: 'unknown', wasSent: true, error, ...NO_TIMES } as const;
    grace = setTimeout(() => abandoned.resolve(unknown), settleByMs - deadlineMs);
  };
  signal.addEventListener('abort', onStop, { once: true });
  try {
    return await Promise.race([execute(signal), abandoned.promise]);
  } finally {
    signal.removeEventListener('abort', onStop);
    clearTimeout(timer);
    clearTimeout(grace);
  }
}
