import type { ErrorId } from '@zerolatency/errors';
import { documentName } from '@zerolatency/signing';
import type { Bundle, Caps, Rule } from './bundle.ts';
import { applies } from './constraints.ts';

/** One tool call, and who asks according to verified credentials. */
export interface PolicyRequest {
  /** Server and tool, such as fs.read. */
  readonly tool: string;
  /** The version that the tool's MCP server reports; empty when it reports none. */
  readonly version: string;
  readonly arguments: unknown;
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
  readonly deviceId: string;
  readonly nowMs: number;
  /** Earlier calls of the same tool in this turn. A device sees no turns and passes 0. */
  readonly callsThisTurn: number;
}

export interface Allow {
  readonly effect: 'allow';
  /** The first rule of the bundle that allows it. */
  readonly ruleId: string;
  /** The lowest of each cap among all rules that allow it. */
  readonly caps: Caps;
}

export interface Deny {
  readonly effect: 'deny';
  /** Null when no single rule decided. */
  readonly ruleId: string | null;
  readonly reason: string;
  readonly errorId: Extract<ErrorId, 'policy.denied' | 'policy.unavailable'>;
}

/** A person has to approve the call. Whoever cannot ask for an approval denies it, for the reason given. */
export interface Escalate {
  readonly effect: 'escalate';
  /** The first rule of the bundle that escalates it. */
  readonly ruleId: string;
  readonly approvers: NonNullable<Rule['approvers']>;
  readonly reason: string;
  readonly errorId: 'policy.denied';
}

export type Decision = Allow | Deny | Escalate;

/** Stale: only rules marked duringGrace allow. Expired: every tool is denied. */
type BundleAge = 'active' | 'stale' | 'expired';

/**
 * Denies unless a rule allows; deny wins over escalate, and escalate over
 * allow. A pure function: the order of rules changes only the id reported.
 */
export function decide(
  bundle: Bundle,
  request: PolicyRequest,
  age: BundleAge = 'active',
): Decision {
  if (age === 'expired') {
    return unavailable(`policy bundle ${documentName(bundle)} expired at ${bundle.expiresAt}`);
  }
  const inGrace = age === 'stale';
  const { tenant, deviceId } = request;
  if (bundle.revokedDevices?.some((it) => it.tenant === tenant && it.device === deviceId)) {
    return deny(null, `device ${deviceId} is revoked`);
  }
  const applying = bundle.rules.filter((rule) => applies(rule, request));
  const denying = applying.find((rule) => rule.effect === 'deny');
  if (denying !== undefined) return deny(denying.id, `rule ${denying.id} denies it`);
  const escalating = applying.find((rule) => rule.effect === 'escalate');
  if (escalating !== undefined) return escalate(escalating);
  const allowing = applying.filter((rule) => !inGrace || rule.duringGrace === true);
  const first = allowing[0];
  if (first === undefined) {
    const when = inGrace ? ' while the bundle is past its expiry' : '';
    return deny(null, `no rule allows it${when}`);
  }
  const caps = tightest(allowing);
  const perTurn = caps.callsPerTurn;
  if (perTurn !== undefined && !(request.callsThisTurn < perTurn)) {
    const capping = allowing.find((rule) => rule.caps?.callsPerTurn === perTurn) ?? first;
    return deny(capping.id, `rule ${capping.id} allows ${perTurn} calls of the tool per turn`);
  }
  return { effect: 'allow', ruleId: first.id, caps };
}

function tightest(rules: readonly Rule[]): Caps {
  return rules.reduce<Caps>((caps, { caps: others = {} }) => tighter(caps, others), {});
}

/** The lower of each cap; a cap that only one of them sets holds. */
export function tighter(a: Caps, b: Caps): Caps {
  return {
    ...lower('timeoutMs', a, b),
    ...lower('maxBytes', a, b),
    ...lower('callsPerTurn', a, b),
  };
}

function lower(cap: keyof Caps, a: Caps, b: Caps): Caps {
  const value = Math.min(a[cap] ?? Number.POSITIVE_INFINITY, b[cap] ?? Number.POSITIVE_INFINITY);
  return value === Number.POSITIVE_INFINITY ? {} : { [cap]: value };
}

function deny(ruleId: string | null, reason: string): Deny {
  return { effect: 'deny', ruleId, reason, errorId: 'policy.denied' };
}

export function unavailable(reason: string): Deny {
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.unavailable' };
}

function escalate({ id, approvers = {} }: Rule): Escalate {
  const reason = `rule ${id} needs an approval, which this version cannot ask for`;
  return { effect: 'escalate', ruleId: id, approvers, reason, errorId: 'policy.denied' };
}
