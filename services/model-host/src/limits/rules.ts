import type { Identity } from '@zerolatency/identity';
import { Refusal } from './refusal.ts';

/** What is limited per unit of time. */
export const DIMENSIONS = ['requests', 'inputTokens', 'outputTokens', 'toolCalls', 'usd'] as const;
export type Dimension = (typeof DIMENSIONS)[number];
export type OwnerKind = 'tenant' | 'user';
export type Owner = Pick<Identity, 'tenant' | 'user'>;

export interface RateSetting {
  readonly amount: number;
  readonly per: string;
  readonly perMs: number;
  /** What may come at once. */
  readonly burst: number;
}

export type Quota = { readonly [each in Dimension]?: RateSetting | undefined } & {
  /** At once, over all pods. */
  readonly turns?: number | undefined;
};

/** By the name of a tenant; `default` is for all others. */
export type QuotaTable = Readonly<Record<string, Quota>>;

/** One limit of an owner: an emission interval and a tolerance, as GCRA has them. */
export interface Rule {
  readonly dimension: Dimension;
  readonly kind: OwnerKind;
  readonly setting: string;
  readonly burst: number;
  readonly intervalMs: number;
  readonly toleranceMs: number;
  readonly refusal: Refusal;
}

export interface TurnsRule {
  readonly kind: OwnerKind;
  readonly max: number;
  readonly refusal: Refusal;
}

export interface OwnerRules {
  readonly rates: Readonly<Partial<Record<Dimension, Rule>>>;
  readonly turns: TurnsRule | undefined;
}

const DEFAULT = 'default';

/** The limits of each tenant and of each of its users, by the settings. */
export class Rules {
  readonly #byKind: Readonly<Record<OwnerKind, ReadonlyMap<string, OwnerRules>>>;

  constructor(tables: { readonly tenants: QuotaTable; readonly users: QuotaTable }) {
    this.#byKind = {
      tenant: compileTable('tenant', tables.tenants),
      user: compileTable('user', tables.users),
    };
  }

  get isEmpty(): boolean {
    return this.#byKind.tenant.size === 0 && this.#byKind.user.size === 0;
  }

  of(kind: OwnerKind, { tenant }: Owner): OwnerRules | undefined {
    const table = this.#byKind[kind];
    return table.get(tenant) ?? table.get(DEFAULT);
  }
}

/** The braces keep what belongs to a tenant on one server of a Redis Cluster. */
export function ownerKeyOf(kind: OwnerKind, { tenant, user }: Owner): string {
  return kind === 'tenant' ? `{${tenant}}` : `{${tenant}}:${user}`;
}

function compileTable(kind: OwnerKind, table: QuotaTable): ReadonlyMap<string, OwnerRules> {
  return new Map(
    Object.keys(table).map((name) => [name, compileQuota(kind, table, name)] as const),
  );
}

/** What a named entry leaves out is that of the default. */
function compileQuota(kind: OwnerKind, table: QuotaTable, name: string): OwnerRules {
  const found = <K extends keyof Quota>(key: K): { value: Quota[K]; setting: string } => {
    const from = table[name]?.[key] === undefined ? DEFAULT : name;
    return { value: table[from]?.[key], setting: `limits.${kind}s.${from}.${key}` };
  };
  const rates: Partial<Record<Dimension, Rule>> = {};
  for (const dimension of DIMENSIONS) {
    const { value, setting } = found(dimension);
    if (value !== undefined) rates[dimension] = compileRate({ dimension, kind, setting }, value);
  }
  const { value: max, setting } = found('turns');
  if (max === undefined) return { rates, turns: undefined };
  const why = `${max} turns of this ${kind} are open on all pods, ${setting} is ${max}`;
  return { rates, turns: { kind, max, refusal: new Refusal(why) } };
}

function compileRate(
  about: Pick<Rule, 'dimension' | 'kind' | 'setting'>,
  { amount, per, perMs, burst }: RateSetting,
): Rule {
  const intervalMs = perMs / amount;
  const limit = `${amount} per ${per} with a burst of ${burst}`;
  const refusal = new Refusal(
    `the ${about.kind} has used up its ${NAMES[about.dimension]}, ${about.setting} is ${limit}`,
  );
  return { ...about, burst, intervalMs, toleranceMs: burst * intervalMs, refusal };
}

const NAMES: Readonly<Record<Dimension, string>> = {
  requests: 'requests',
  inputTokens: 'input tokens',
  outputTokens: 'output tokens',
  toolCalls: 'tool calls',
  usd: 'USD',
};
