import type { BundleHolder, HeldDecision, PolicyRequest } from '@zerolatency/policy';
import type { Server } from '@zerolatency/proto/bridge';
import type { Signer } from '@zerolatency/signing';
import type { ToolDefinition, TurnScope } from '../ports.ts';
import type { CallLedger, DeviceRoute, DeviceRoutes, ToolLimits, ToolMetrics } from './ports.ts';
import type { RegisteredTool, ToolRegistry } from './registry.ts';
import { mayBeAllowed } from './visible.ts';

export interface ToolDeps {
  readonly devices: DeviceRoutes;
  readonly policy: Pick<BundleHolder, 'current' | 'decide'>;
  readonly registry: ToolRegistry;
  readonly ledger: CallLedger;
  readonly signer: Signer;
  readonly limits: ToolLimits;
  readonly metrics: ToolMetrics;
  /** Unix time that does not step. */
  readonly nowMs: () => number;
  readonly traceparent: () => string;
}

/** What the calls of one turn share: who asks, of which device, and how often already. */
export class TurnTools {
  readonly deps: ToolDeps;
  readonly scope: TurnScope;
  readonly #servers: readonly Server[];
  readonly #calls = new Map<string, number>();
  #allCalls = 0;

  constructor(deps: ToolDeps, scope: TurnScope, servers: readonly Server[]) {
    this.deps = deps;
    this.scope = scope;
    this.#servers = servers;
  }

  /** Asked for anew at each call, because a route that was idle for long is closed. */
  route(): DeviceRoute {
    return this.deps.devices.route(this.scope.identity.tenant, this.scope.deviceId);
  }

  find(tool: string): RegisteredTool | undefined {
    const servers = this.scope.deviceId === '' ? undefined : this.route().session?.servers;
    return this.deps.registry.of(servers ?? this.#servers).get(tool);
  }

  /** What the model is told of: it runs, and some call of it might be allowed. */
  definitions(): ToolDefinition[] {
    const held = this.deps.policy.current(this.deps.nowMs());
    return [...this.deps.registry.of(this.#servers).values()]
      .filter((tool) => tool.offered)
      .filter(({ definition, version }) =>
        mayBeAllowed(held, this.#request(definition.name, version)),
      )
      .map(({ definition }) => definition);
  }

  decide(tool: string, version: string, args: unknown): HeldDecision {
    const { policy, metrics, limits } = this.deps;
    const startedMs = performance.now();
    const request = { ...this.#request(tool, version), arguments: args };
    const decision = policy.decide(request);
    metrics.decided(decision.effect, performance.now() - startedMs);
    this.#calls.set(tool, request.callsThisTurn + 1);
    this.#allCalls += 1;
    if (this.#allCalls <= limits.callsPerTurn || decision.effect === 'deny') return decision;
    const { policyId, policyDigest } = decision;
    const reason = `this host allows ${limits.callsPerTurn} calls per turn`;
    return {
      effect: 'deny',
      ruleId: null,
      reason,
      errorId: 'policy.denied',
      policyId,
      policyDigest,
    };
  }

  #request(tool: string, version: string): Omit<PolicyRequest, 'arguments'> {
    const { identity, deviceId } = this.scope;
    const { tenant, user, roles } = identity;
    const callsThisTurn = this.#calls.get(tool) ?? 0;
    // Wall time, as the bundle's own dates are.
    return { tool, version, tenant, user, roles, deviceId, nowMs: Date.now(), callsThisTurn };
  }
}
