import {
  type Bundle,
  type BundleHolder,
  type BundleState,
  decide,
  type HeldDecision,
  type PolicyRequest,
} from '@zerolatency/policy';
import type { TurnScope } from '../ports.ts';
import type { ToolMetrics } from './ports.ts';

export interface CallDeciderOptions {
  readonly policy: Pick<BundleHolder, 'current' | 'decide'>;
  readonly scope: TurnScope;
  readonly maxCalls: number;
  readonly metrics: Pick<ToolMetrics, 'decided'>;
}

/** Decides the calls of one turn and counts them. */
export class CallDecider {
  readonly #options: CallDeciderOptions;
  readonly #calls = new Map<string, number>();
  #allCalls = 0;

  constructor(options: CallDeciderOptions) {
    this.#options = options;
  }

  /** Whether the policy could allow some call of the tool; a model sees no other tools. */
  isVisible(tool: string, version: string): boolean {
    const request = this.#request(tool, version);
    return mayBeAllowed(this.#options.policy.current(request.nowMs), request);
  }

  decide(tool: string, version: string, args: unknown): HeldDecision {
    const { policy, metrics, maxCalls } = this.#options;
    const startedMs = performance.now();
    const request = { ...this.#request(tool, version), arguments: args };
    const decision = policy.decide(request);
    metrics.decided(decision.effect, performance.now() - startedMs);
    this.#calls.set(tool, request.callsThisTurn + 1);
    this.#allCalls += 1;
    if (this.#allCalls <= maxCalls || decision.effect !== 'allow') return decision;
    const { policyId, policyDigest } = decision;
    return {
      effect: 'deny',
      ruleId: null,
      reason: `this host allows ${maxCalls} calls per turn`,
      errorId: 'policy.denied',
      policyId,
      policyDigest,
    };
  }

  #request(tool: string, version: string): Omit<PolicyRequest, 'arguments'> {
    const { identity, deviceId } = this.#options.scope;
    const { tenant, user, roles } = identity;
    const callsThisTurn = this.#calls.get(tool) ?? 0;
    // Wall time, because the bundle's own dates are.
    return { tool, version, tenant, user, roles, deviceId, nowMs: Date.now(), callsThisTurn };
  }
}

const withoutArguments = new WeakMap<Bundle, Bundle>();

export function mayBeAllowed(
  held: BundleState,
  request: Omit<PolicyRequest, 'arguments'>,
): boolean {
  if (held.state === 'none' || held.state === 'expired') return false;
  const bundle = regardlessOfArguments(held.content);
  const inGrace = held.state === 'stale';
  return decide(bundle, { ...request, arguments: {} }, { inGrace }).effect === 'allow';
}

/** A rule about arguments decides single calls, not the tool. */
function regardlessOfArguments(bundle: Bundle): Bundle {
  const known = withoutArguments.get(bundle);
  if (known !== undefined) return known;
  const rules = bundle.rules
    .filter((rule) => rule.effect === 'allow' || rule.paths === undefined)
    .map(({ paths: _, ...rule }) => rule);
  const loosened = { ...bundle, rules };
  withoutArguments.set(bundle, loosened);
  return loosened;
}
