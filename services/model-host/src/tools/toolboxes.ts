import type { Tracer } from '@opentelemetry/api';
import type { ToolContracts } from '@zerolatency/contracts';
import type { BundleHolder } from '@zerolatency/policy';
import { inject } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { Toolbox, Toolboxes } from '../ports.ts';
import {
  type CallLedger,
  type DeviceRoutes,
  defaultToolLimits,
  type ToolLimits,
  type ToolMetrics,
} from './ports.ts';
import { ToolRegistry } from './registry.ts';
import { ToolCall } from './tool-call.ts';
import { tracedCall } from './traced-call.ts';
import { type ToolDeps, TurnTools } from './turn-tools.ts';

export interface ToolboxesOptions {
  readonly devices: DeviceRoutes;
  readonly policy: Pick<BundleHolder, 'current' | 'decide'>;
  readonly contracts: ToolContracts;
  readonly ledger: CallLedger;
  /** This host's receipt key. */
  readonly signer: Signer;
  readonly limits?: Partial<ToolLimits>;
  readonly metrics: ToolMetrics;
  /** Each call gets a span of its own where there is one. */
  readonly tracer?: Tracer;
}

export function createToolboxes(options: ToolboxesOptions): Toolboxes {
  const { devices, policy, contracts, ledger, signer, limits, metrics, tracer } = options;
  const shared = {
    devices,
    policy,
    registry: new ToolRegistry(contracts),
    ledger,
    signer,
    limits: { ...defaultToolLimits, ...limits },
    metrics,
    traceparent: () => inject(),
  };
  return {
    async open(scope, signal) {
      const deps: ToolDeps = { ...shared, nowMs: steadyClock() };
      if (scope.deviceId === '') return toolboxOf(new TurnTools(deps, scope, []), tracer);
      const route = devices.route(scope.identity.tenant, scope.deviceId);
      const { servers } = route.session ?? (await route.ready(signal));
      return toolboxOf(new TurnTools(deps, scope, servers), tracer);
    },
  };
}

function toolboxOf(turn: TurnTools, tracer: Tracer | undefined): Toolbox {
  return {
    tools: turn.definitions(),
    prepare(tool, argumentsJson) {
      const call = new ToolCall(turn, tool, argumentsJson);
      return tracer === undefined ? call : tracedCall(call, turn.scope, tracer);
    },
  };
}

/**
 * Unix time that does not step when the clock of the machine is set. For one
 * turn: over a longer time it would lag by every sleep of the machine, and
 * devices refuse a deadline that is past.
 */
function steadyClock(): () => number {
  const originMs = Date.now() - performance.now();
  return () => originMs + performance.now();
}
