import type { Bundle, Caps, Rule } from './bundle.ts';
import { constraints, holds, type PolicyRequest } from './decide.ts';

/** What a ledger says of a decided call. It holds no roles and no arguments. */
export interface RecordedCall {
  readonly tool: string;
  /** Undefined when the record does not say. */
  readonly version: string | undefined;
  readonly tenant: string;
  readonly user: string;
  /** Undefined when the record does not say. */
  readonly deviceId: string | undefined;
  /** The decision fell between these. */
  readonly fromMs: number;
  readonly toMs: number;
}

type Applies = 'yes' | 'no' | 'unknown';

/** Why the bundle cannot have allowed the call with these caps; undefined when it can. */
export function whyNotAllowed(
  bundle: Bundle,
  call: RecordedCall,
  { caps, isStale }: { readonly caps: Caps; readonly isStale: boolean },
): string | undefined {
  const { tenant, deviceId } = call;
  if (bundle.revokedDevices?.some((it) => it.tenant === tenant && it.device === deviceId)) {
    return `it revokes device ${deviceId}`;
  }
  const judged = bundle.rules.map((rule) => ({ rule, applies: appliesTo(rule, call) }));
  const against = judged.find(({ rule, applies }) => rule.effect !== 'allow' && applies === 'yes');
  if (against !== undefined) return `its rule ${against.rule.id} is against it`;
  const allowing = judged.filter(
    ({ rule, applies }) =>
      rule.effect === 'allow' && applies !== 'no' && (!isStale || rule.duringGrace === true),
  );
  if (allowing.length === 0) return 'no rule of it allows that';
  const tighter = allowing.find(
    ({ rule, applies }) => applies === 'yes' && isLooser(caps, rule.caps ?? {}),
  );
  return tighter && `its rule ${tighter.rule.id} has lower caps`;
}

/** Why the rule cannot have denied the call; undefined when it can. */
export function whyNotDenied(
  bundle: Bundle,
  call: RecordedCall,
  ruleId: string,
): string | undefined {
  const rule = bundle.rules.find(({ id }) => id === ruleId);
  if (rule === undefined) return `it has no rule ${ruleId}`;
  if (appliesTo(rule, call) === 'no') return `its rule ${ruleId} is not about that call`;
  const isCounted = rule.caps?.callsPerTurn !== undefined;
  return rule.effect === 'allow' && !isCounted ? `its rule ${ruleId} denies nothing` : undefined;
}

function isLooser(caps: Caps, limits: Caps): boolean {
  const names = ['timeoutMs', 'maxBytes', 'callsPerTurn'] as const;
  return names.some((name) => (caps[name] ?? 0) > (limits[name] ?? Number.POSITIVE_INFINITY));
}

function appliesTo(rule: Rule, call: RecordedCall): Applies {
  const { fromMs, toMs, version = '', deviceId = '', ...known } = call;
  const request = (nowMs: number): PolicyRequest => ({
    ...{ ...known, version, deviceId, nowMs },
    ...{ roles: [], arguments: {}, callsThisTurn: 0 },
  });
  let isKnown = true;
  for (const constraint of constraints) {
    if (constraint.wanted(rule) === undefined) continue;
    const verdicts = [fromMs, toMs].map((nowMs) => holds(constraint, rule, request(nowMs)));
    if (isUnrecorded(constraint.name, call) || verdicts[0] !== verdicts[1]) isKnown = false;
    else if (verdicts[0] === false) return 'no';
  }
  return isKnown ? 'yes' : 'unknown';
}

function isUnrecorded(name: keyof Rule, { version, deviceId }: RecordedCall): boolean {
  if (name === 'versions') return version === undefined;
  if (name === 'devices') return deviceId === undefined;
  return ['roles', 'paths', 'hasEffects', 'inSandbox'].includes(name);
}
