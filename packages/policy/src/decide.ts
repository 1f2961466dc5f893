import type { Bundle, Caps, Rule } from './bundle.ts';
import { applies } from './constraints.ts';
import type { Decision, Deny, PolicyRequest } from './request.ts';

interface DecideOptions {
  /** The bundle is stale: only rules marked duringGrace allow. */
  readonly inGrace?: boolean;
}

/**
 * Denies unless a rule allows; a deny rule wins over any allow. A pure
 * function: the order of rules changes nothing but the id that is reported.
 */
export function decide(
  bundle: Bundle,
  request: PolicyRequest,
  { inGrace = false }: DecideOptions = {},
): Decision {
  const applying = bundle.rules.filter((rule) => applies(rule, request));
  const denying = applying.find((rule) => rule.effect === 'deny');
  if (denying !== undefined) return deny(denying.id, `rule ${denying.id} denies it`);
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

/** Of each cap the lower one; a cap that only one of them sets holds. */
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
