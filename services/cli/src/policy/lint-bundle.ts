import { type Bundle, POLICY_BUNDLE, pathWithin, type Rule } from '@zerolatency/policy';
import { ageOf } from '@zerolatency/signing';
import { covers } from './rule-cover.ts';

export interface LintWarning {
  /** Null when the warning is about the whole bundle. */
  readonly ruleId: string | null;
  readonly warning: LintName;
  readonly message: string;
}

export type LintName =
  | 'allows-anyone-anything'
  | 'allows-nothing'
  | 'caps-missing'
  | 'caps-overlap'
  | 'deny-shadows-all'
  | 'expired'
  | 'expiry-far'
  | 'expiry-near'
  | 'grace-unused'
  | 'never-applies'
  | 'sandbox-inverted'
  | 'tool-name-odd'
  | 'unreachable';

const DAY_MS = 24 * 60 * 60 * 1000;
/** For this long a device that gets no new bundle keeps old rules. */
const LONG_LIFETIME_MS = 14 * DAY_MS;

/** Points out parts of a valid bundle that its author may not have meant. */
export function lintBundle(
  bundle: Bundle,
  { nowMs }: { readonly nowMs: number },
): readonly LintWarning[] {
  return [
    ...lintTimes(bundle, nowMs),
    ...lintGrace(bundle),
    ...lintWhole(bundle),
    ...bundle.rules.flatMap((rule) => [...lintRule(rule, bundle.rules)]),
  ];
}

function* lintTimes(bundle: Bundle, nowMs: number): Generator<LintWarning> {
  const leftMs = Date.parse(bundle.expiresAt) - nowMs;
  const age = ageOf(POLICY_BUNDLE, bundle, nowMs);
  if (age !== 'active')
    yield about(null, 'expired', `it has been ${age} since ${bundle.expiresAt}`);
  else if (leftMs < DAY_MS) yield about(null, 'expiry-near', 'it expires within a day');
  if (Date.parse(bundle.expiresAt) - Date.parse(bundle.issuedAt) > LONG_LIFETIME_MS) {
    yield about(null, 'expiry-far', 'its lifetime is longer than 14 days');
  }
}

function* lintGrace({ graceMs = 0, rules }: Bundle): Generator<LintWarning> {
  const inGrace = rules.filter((rule) => rule.duringGrace === true);
  if (graceMs > 0 && inGrace.length === 0) {
    yield about(null, 'grace-unused', 'graceMs is set, but no rule is marked duringGrace');
  }
  if (graceMs > 0) return;
  for (const { id } of inGrace) {
    yield about(id, 'grace-unused', 'it is marked duringGrace, but graceMs is not set');
  }
}

function* lintWhole({ rules }: Bundle): Generator<LintWarning> {
  if (rules.every((rule) => rule.effect === 'deny')) {
    yield about(null, 'allows-nothing', 'no rule allows anything');
  }
  for (const { id } of rules.filter((rule) => rule.effect === 'deny' && isUnconditional(rule))) {
    yield about(id, 'deny-shadows-all', 'it denies every call, whatever the other rules say');
  }
}

function* lintRule(rule: Rule, rules: readonly Rule[]): Generator<LintWarning> {
  for (const glob of rule.tools.filter((text) => !/[.*]/.test(text))) {
    yield about(rule.id, 'tool-name-odd', `no tool can be named ${glob}; names are server.tool`);
  }
  if (rule.inSandbox === (rule.effect !== 'allow')) {
    const verb = { allow: 'allows', deny: 'denies', escalate: 'escalates' }[rule.effect];
    const where = rule.inSandbox ? 'in' : 'outside';
    yield about(rule.id, 'sandbox-inverted', `it ${verb} only what runs ${where} a sandbox`);
  }
  if (rule.effect !== 'allow') return;
  if (rule.when !== undefined || rule.egress !== undefined) {
    yield about(
      rule.id,
      'never-applies',
      'this version cannot hold when or egress, so it allows nothing',
    );
  }
  for (const folder of rule.paths?.within ?? []) {
    if (pathWithin(folder, [folder], 'allow') === 'yes') continue;
    yield about(rule.id, 'never-applies', `every path in ${folder} is in doubt, so it allows none`);
  }
  if (rule.caps === undefined) yield about(rule.id, 'caps-missing', 'it allows without caps');
  if (isUnconditional(rule)) {
    yield about(rule.id, 'allows-anyone-anything', 'it allows every tool to everyone');
  }
  yield* lintOverlaps(rule, rules);
}

function* lintOverlaps(rule: Rule, rules: readonly Rule[]): Generator<LintWarning> {
  for (const other of rules) {
    if (other === rule || !covers(other, rule)) continue;
    if (other.effect !== 'allow') {
      const verb = other.effect === 'deny' ? 'denies' : 'escalates';
      yield about(rule.id, 'unreachable', `rule ${other.id} ${verb} everything it allows`);
    } else if (JSON.stringify(other.caps) !== JSON.stringify(rule.caps)) {
      const message = `rule ${other.id} allows the same calls with other caps; the tightest hold`;
      yield about(rule.id, 'caps-overlap', message);
    }
  }
}

function isUnconditional(rule: Rule): boolean {
  const { id, effect } = rule;
  return covers(rule, { id, effect, tools: ['*'] });
}

function about(ruleId: string | null, warning: LintName, message: string): LintWarning {
  return { ruleId, warning, message };
}
