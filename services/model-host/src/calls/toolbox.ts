import type { Tracer } from '@opentelemetry/api';
import {
  type BundleHolder,
  decideSomeCall,
  type HeldDecision,
  type PolicyRequest,
} from '@zerolatency/policy';
import { inject } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { Quotas } from '../limits/quotas.ts';
import type {
  CallCounts,
  Toolbox,
  Toolboxes,
  ToolDefinition,
  TurnScope,
  WithheldTool,
} from '../ports.ts';
import {
  type CallLedger,
  DEFAULT_TOOL_LIMITS,
  type EndedCall,
  type Executor,
  type ExecutorScope,
  type ExecutorTool,
  type ToolLimits,
  type ToolMetrics,
} from './ports.ts';
import { ToolCall, type ToolCallDeps } from './tool-call.ts';

export interface ToolboxesOptions {
  /** The first one that offers a name executes it. */
  readonly executors: readonly Executor[];
  readonly policy: Pick<BundleHolder, 'note' | 'decide'>;
  readonly ledger: CallLedger;
  readonly signer: Signer;
  readonly limits?: Partial<ToolLimits>;
  readonly quotas: Pick<Quotas, 'toolCall'>;
  readonly metrics: ToolMetrics;
  readonly onEnded: (call: EndedCall) => void;
  readonly tracer?: Tracer;
}

export function createToolboxes(options: ToolboxesOptions): Toolboxes {
  const { executors, policy, ledger, signer, quotas, metrics, onEnded, tracer } = options;
  const limits = { ...DEFAULT_TOOL_LIMITS, ...options.limits };
  return {
    async open(scope, signal, { counts = new Map(), tools } = {}) {
      const isNamed = (name: string) => tools === undefined || tools.includes(name);
      const opened = await Promise.all(executors.map((executor) => executor.open(scope, signal)));
      const maxCalls = limits.callsPerTurn;
      const decider = new CallDecider({ policy, scope, counts, maxCalls, metrics });
      const deps: ToolCallDeps = {
        scope,
        decide: (...call) => decider.decide(...call),
        find: (name) => (isNamed(name) ? find(opened, name) : undefined),
        ledger,
        signer,
        limits,
        charge: () => quotas.toolCall(scope.identity),
        metrics,
        onEnded,
        nowMs: awakeClock(),
        tracer,
        traceparent: () => inject(),
      };
      return {
        ...decider.partition(
          readyTools(opened).filter(({ definition }) => isNamed(definition.name)),
        ),
        prepare: (tool, args) => new ToolCall(deps, tool, args),
      };
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

/** Each by the first executor that offers its name. */
function readyTools(executors: readonly ExecutorScope[]): ExecutorTool[] {
  const offered = new Map<string, ExecutorTool>();
  for (const executor of executors) {
    for (const [name, tool] of executor.tools()) if (!offered.has(name)) offered.set(name, tool);
  }
  return [...offered.values()].filter(({ isReady }) => isReady);
}

/**
 * Unix time at the start of a turn, and from then on the time that the machine is awake: after a
 * sleep a device's answer still has its time to arrive. One per turn, since it lags by each sleep
 * and devices of release 0.1.0 read deadlines by the time of day.
 */
function awakeClock(): () => number {
  const originMs = Date.now() - performance.now();
  return () => originMs + performance.now();
}

interface CallDeciderOptions {
  readonly policy: Pick<BundleHolder, 'note' | 'decide'>;
  readonly scope: TurnScope;
  readonly counts: CallCounts;
  readonly maxCalls: number;
  readonly metrics: Pick<ToolMetrics, 'decided'>;
}

/** Decides the calls of one turn and counts them. */
export class CallDecider {
  readonly #options: CallDeciderOptions;

  constructor(options: CallDeciderOptions) {
    this.#options = options;
  }

  /** A model sees the tools of which the policy could allow some call. */
  partition(offered: readonly ExecutorTool[]): Pick<Toolbox, 'tools' | 'withheld'> {
    const held = this.#options.policy.note(Date.now());
    const tools: ToolDefinition[] = [];
    const withheld: WithheldTool[] = [];
    for (const found of offered) {
      const tool = found.definition.name;
      const decision = decideSomeCall(held, this.#request(tool, found));
      if (decision.effect === 'allow') tools.push(found.definition);
      else withheld.push({ tool, ruleId: decision.ruleId, reason: decision.reason });
    }
    if (withheld.length === 0) return { tools };
    const policy = held.state === 'none' ? {} : { policyId: held.name, policyDigest: held.digest };
    return { tools, withheld: { ...policy, tools: withheld } };
  }

  decide(tool: string, found: ExecutorTool | undefined, args: unknown): HeldDecision {
    const { policy, metrics, counts, maxCalls } = this.#options;
    const startedMs = performance.now();
    const request = { ...this.#request(tool, found), arguments: args };
    const decision = policy.decide(request);
    metrics.decided(decision.effect, performance.now() - startedMs);
    counts.set(tool, request.callsThisTurn + 1);
    const allCalls = [...counts.values()].reduce((sum, calls) => sum + calls, 0);
    if (allCalls <= maxCalls || decision.effect !== 'allow') return decision;
    const { policyId, policyDigest } = decision;
    return {
      effect: 'deny',
      ruleId: null,
      reason: `this host's limit of calls per turn is ${maxCalls}`,
      errorId: 'policy.denied',
      policyId,
      policyDigest,
    };
  }

  #request(tool: string, found: ExecutorTool | undefined): Omit<PolicyRequest, 'arguments'> {
    const { scope, counts } = this.#options;
    const { tenant, user, roles } = scope.identity;
    const { deviceId } = scope;
    const { version = '', pathBases, statedEffects: hasEffects, inSandbox } = found ?? {};
    const callsThisTurn = counts.get(tool) ?? 0;
    return {
      ...{ tool, version, pathBases, hasEffects, inSandbox },
      ...{ tenant, user, roles, deviceId, callsThisTurn },
      // Wall time, because the bundle's own dates are.
      nowMs: Date.now(),
    };
  }
}
