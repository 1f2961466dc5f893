import { SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type { BundleHolder } from '@zerolatency/policy';
import { inject, inSpan } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { PreparedCall, Toolbox, Toolboxes, TurnScope } from '../ports.ts';
import { ToolCall, type ToolCallDeps } from './call.ts';
import { CallDecider } from './decide.ts';
import type { Executor, ExecutorScope, ExecutorTool } from './executor.ts';
import {
  type CallLedger,
  DEFAULT_TOOL_LIMITS,
  type ToolLimits,
  type ToolMetrics,
} from './ports.ts';

export interface ToolboxesOptions {
  /** The first one that offers a name executes it. */
  readonly executors: readonly Executor[];
  readonly policy: Pick<BundleHolder, 'current' | 'decide'>;
  readonly ledger: CallLedger;
  /** This host's receipt key. */
  readonly signer: Signer;
  readonly limits?: Partial<ToolLimits>;
  readonly metrics: ToolMetrics;
  /** Gives each call a span. */
  readonly tracer?: Tracer;
}

export function createToolboxes(options: ToolboxesOptions): Toolboxes {
  const { executors, policy, ledger, signer, metrics, tracer } = options;
  const limits = { ...DEFAULT_TOOL_LIMITS, ...options.limits };
  return {
    async open(scope, signal) {
      const opened = await Promise.all(executors.map((executor) => executor.open(scope, signal)));
      const maxCalls = limits.callsPerTurn;
      const deps: ToolCallDeps = {
        scope,
        decider: new CallDecider({ policy, scope, maxCalls, metrics }),
        find: (name) => find(opened, name),
        ledger,
        signer,
        limits,
        metrics,
        nowMs: steadyClock(),
        traceparent: () => inject(),
      };
      return toolboxOf(deps, opened, tracer);
    },
  };
}

function find(executors: readonly ExecutorScope[], name: string): ReturnType<ToolCallDeps['find']> {
  for (const executor of executors) {
    const tool = executor.tools().get(name);
    if (tool !== undefined) return { tool, executor };
  }
  return undefined;
}

function toolboxOf(
  deps: ToolCallDeps,
  executors: readonly ExecutorScope[],
  tracer: Tracer | undefined,
): Toolbox {
  const offered = new Map<string, ExecutorTool>();
  for (const executor of executors) {
    for (const [name, tool] of executor.tools()) if (!offered.has(name)) offered.set(name, tool);
  }
  const { decider } = deps;
  return {
    tools: [...offered.values()]
      .filter(({ isReady }) => isReady)
      .filter(({ definition, version }) => decider.isVisible(definition.name, version))
      .map(({ definition }) => definition),
    prepare(tool, args) {
      const call = new ToolCall(deps, tool, args);
      return tracer === undefined ? call : tracedCall(call, deps.scope, tracer);
    },
  };
}

/** Gives a call its span, which the executor then continues. */
function tracedCall(call: PreparedCall, scope: TurnScope, tracer: Tracer): PreparedCall {
  const { callId, tool, argumentsJson, argumentsDigest } = call;
  const attributes = {
    call_id: callId,
    tool,
    tenant: scope.identity.tenant,
    session_id: scope.sessionId,
    turn_id: scope.turnId,
    device_id: scope.deviceId,
  };
  const run: PreparedCall['run'] = (options) =>
    inSpan(tracer, 'tool.call', { kind: 'client', attributes }, async (span) => {
      const result = await call.run(options);
      span.setAttribute('outcome', result.outcome);
      if (result.error !== undefined) span.setAttribute('error.type', result.error.id);
      if (result.outcome !== 'done') span.setStatus({ code: SpanStatusCode.ERROR });
      return result;
    });
  return { callId, tool, argumentsJson, argumentsDigest, run };
}

/**
 * Unix time that does not step when the machine's clock is set. One per turn:
 * over a longer time it would lag by every sleep of the machine, and devices
 * refuse a deadline that has passed.
 */
function steadyClock(): () => number {
  const originMs = Date.now() - performance.now();
  return () => originMs + performance.now();
}
