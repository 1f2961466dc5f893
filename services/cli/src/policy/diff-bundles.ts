import type { Bundle, Rule } from '@zerolatency/policy';
import { canonicalText } from '@zerolatency/signing';

export interface BundleDiff {
  readonly header: readonly FieldChange[];
  readonly added: readonly Rule[];
  readonly removed: readonly Rule[];
  readonly changed: readonly RuleChange[];
}

export interface FieldChange {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

export interface RuleChange {
  readonly id: string;
  readonly before: Rule;
  readonly after: Rule;
  readonly fields: readonly string[];
}

/** Rules are identified by id; their order means nothing. */
export function diffBundles(before: Bundle, after: Bundle): BundleDiff {
  const old = new Map(before.rules.map((rule) => [rule.id, rule]));
  const kept = new Set(after.rules.map(({ id }) => id));
  return {
    header: fieldChanges({ ...before, rules: [] }, { ...after, rules: [] }),
    added: after.rules.filter(({ id }) => !old.has(id)),
    removed: before.rules.filter(({ id }) => !kept.has(id)),
    changed: after.rules.flatMap((rule) => changeOf(old.get(rule.id), rule)),
  };
}

function changeOf(before: Rule | undefined, after: Rule): RuleChange[] {
  if (before === undefined) return [];
  const fields = fieldChanges(before, after).map(({ field }) => field);
  return fields.length === 0 ? [] : [{ id: after.id, before, after, fields }];
}

export function fieldChanges(before: object, after: object): FieldChange[] {
  const old = new Map<string, unknown>(Object.entries(before));
  const now = new Map<string, unknown>(Object.entries(after));
  return [...new Set([...old.keys(), ...now.keys()])]
    .map((field) => ({ field, before: old.get(field), after: now.get(field) }))
    .filter((change) => !same(change.before, change.after));
}

function same(a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  return canonicalText(a) === canonicalText(b);
}
