import type { Bundle, Rule } from '@zerolatency/policy';
import { canonicalText } from '@zerolatency/signing';

export interface BundleDiff {
  readonly header: readonly FieldChange[];
  readonly added: readonly Rule[];
  readonly removed: readonly Rule[];
  readonly changed: readonly RuleChange[];
}

export interface FieldChange {
  readonly field: keyof Bundle;
  readonly before: unknown;
  readonly after: unknown;
}

export interface RuleChange {
  readonly id: string;
  readonly before: Rule;
  readonly after: Rule;
  readonly fields: readonly (keyof Rule)[];
}

const HEADER = [
  'id',
  'version',
  'issuedAt',
  'expiresAt',
  'graceMs',
  'previousDigest',
  'revokedDevices',
] as const satisfies readonly (keyof Bundle)[];
const RULE_FIELDS = [
  'effect',
  'description',
  'tools',
  'versions',
  'tenants',
  'roles',
  'users',
  'devices',
  'hours',
  'paths',
  'caps',
  'approvers',
  'egress',
  'when',
  'duringGrace',
] as const satisfies readonly (keyof Rule)[];

/** Rules are identified by id; their order means nothing. */
export function diffBundles(before: Bundle, after: Bundle): BundleDiff {
  const old = new Map(before.rules.map((rule) => [rule.id, rule]));
  const kept = new Set(after.rules.map(({ id }) => id));
  return {
    header: HEADER.filter((field) => !same(before[field], after[field])).map((field) => ({
      field,
      before: before[field],
      after: after[field],
    })),
    added: after.rules.filter(({ id }) => !old.has(id)),
    removed: before.rules.filter(({ id }) => !kept.has(id)),
    changed: after.rules.flatMap((rule) => changeOf(old.get(rule.id), rule)),
  };
}

function changeOf(before: Rule | undefined, after: Rule): RuleChange[] {
  if (before === undefined) return [];
  const fields = RULE_FIELDS.filter((field) => !same(before[field], after[field]));
  return fields.length === 0 ? [] : [{ id: after.id, before, after, fields }];
}

function same(a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  return canonicalText(a) === canonicalText(b);
}
