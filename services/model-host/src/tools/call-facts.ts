import { type Caps, type HeldDecision, tighter } from '@zerolatency/policy';
import type { Digest } from '@zerolatency/signing';
import type { TurnScope } from '../ports.ts';
import type { CallFacts, ToolLimits } from './ports.ts';

export interface FactsOptions {
  readonly call: Pick<
    CallFacts,
    'executor' | 'callId' | 'tool' | 'toolVersion' | 'argumentsDigest' | 'argumentSalt'
  >;
  readonly scope: TurnScope;
  readonly limits: ToolLimits;
  /** Undefined where the call ended before anyone decided. */
  readonly decision: HeldDecision | undefined;
  readonly startedMs: number;
}

/** What every record of the call says of it. */
export function callFacts({ call, scope, limits, decision, startedMs }: FactsOptions): CallFacts {
  return {
    ...call,
    caps: callCaps(limits, decision),
    startedAt: new Date(startedMs).toISOString(),
    policyId: decision?.policyId || undefined,
    policyDigest: asDigest(decision?.policyDigest),
    deviceId: scope.deviceId || undefined,
    tenant: scope.identity.tenant,
    user: scope.identity.user,
    turnId: scope.turnId || undefined,
  };
}

/** The host's bounds, narrowed by the policy. */
export function callCaps(limits: ToolLimits, decision: HeldDecision | undefined): Required<Caps> {
  const { timeoutMs, maxBytes, callsPerTurn } = limits;
  const bounds = { timeoutMs, maxBytes, callsPerTurn };
  return decision?.effect === 'allow' ? { ...bounds, ...tighter(bounds, decision.caps) } : bounds;
}

/** Of a digest as text; empty of none. */
export function digestBytes(digest: string): Uint8Array {
  return Buffer.from(digest.slice('sha256:'.length), 'hex');
}

function asDigest(text: string | undefined): Digest | undefined {
  return text?.startsWith('sha256:') ? `sha256:${text.slice('sha256:'.length)}` : undefined;
}
