import {
  applies,
  type Bundle,
  type Constraint,
  constraints,
  type Decision,
  decide,
  holds,
  type PolicyRequest,
  type Rule,
} from '@zerolatency/policy';

export interface Explanation {
  readonly decision: Decision;
  readonly rules: readonly RuleExplanation[];
}

export interface RuleExplanation {
  readonly id: string;
  readonly effect: Rule['effect'];
  readonly matched: boolean;
  /** One for each constraint that the rule has. */
  readonly reasons: readonly Reason[];
}

export interface Reason {
  readonly constraint: keyof Rule;
  readonly matched: boolean;
  /** A sentence for a person. */
  readonly detail: string;
}

const MAX_SHOWN_CHARS = 200;

/** Explains a decision: every rule, and which of its constraints held. */
export function explain(
  bundle: Bundle,
  request: PolicyRequest,
  age?: 'active' | 'stale' | 'expired',
): Explanation {
  return {
    decision: decide(bundle, request, age),
    rules: bundle.rules.map((rule) => ({
      id: rule.id,
      effect: rule.effect,
      matched: applies(rule, request),
      reasons: constraints
        .filter((constraint) => constraint.wanted(rule) !== undefined)
        .map((constraint) => explainOne(constraint, rule, request)),
    })),
  };
}

function explainOne(constraint: Constraint, rule: Rule, request: PolicyRequest): Reason {
  const matched = holds(constraint, rule, request);
  const unclear = constraint.match(rule, request) === 'unclear';
  const wanted = show(constraint.wanted(rule));
  const found = show(constraint.found(rule, request));
  const doubt = unclear ? ` and cannot be decided, so the ${rule.effect}` : ', so it';
  return {
    constraint: constraint.name,
    matched,
    detail: `${constraint.name} asks for ${wanted}; the call has ${found}${doubt} ${matched ? 'holds' : 'does not hold'}`,
  };
}

function show(value: unknown): string {
  const text = value === undefined ? 'none' : JSON.stringify(value);
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}...` : text;
}
