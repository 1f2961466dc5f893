import type { CalleeCall } from '@zerolatency/call';
import type { HeldDecision, PolicyRequest } from '@zerolatency/policy';
import type { Device } from './device-receipt.ts';

export interface PolicyPort {
  decide(request: PolicyRequest): HeldDecision;
}

interface Asked {
  readonly tool: string;
  readonly version: string;
  readonly arguments: unknown;
  readonly nowMs: number;
}

/** The device's own decision, whatever the caller's was. */
export function authorize(
  { principal }: CalleeCall,
  asked: Asked,
  { policy, device }: { readonly policy: PolicyPort; readonly device: Device },
): HeldDecision {
  const { tenant, user, roles } = principal;
  const request = { ...asked, tenant, user, roles, deviceId: device.id, callsThisTurn: 0 };
  const decision = policy.decide(request);
  if (tenant === device.tenant || decision.effect === 'deny') return decision;
  const { policyId, policyDigest } = decision;
  const reason = `the device belongs to tenant ${device.tenant}`;
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.denied', policyId, policyDigest };
}
