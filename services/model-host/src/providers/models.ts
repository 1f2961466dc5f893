import { ZlError } from '@zerolatency/errors';
import type { HostSettings } from '../../../../contracts/gen/model-host.d.ts';
import { Breaker, type BreakerOptions } from './breaker.ts';
import { jsonPlanProvider } from './json-plan.ts';
import type { LlmProvider } from './port.ts';
import type { Prices } from './prices.ts';

/** Which targets each alias has, for the pod and for single tenants. */
export type ModelTable = Pick<HostSettings['models'], 'default' | 'aliases' | 'tenants'>;
type AliasSettings = ModelTable['aliases'][string];
type TargetSettings = NonNullable<AliasSettings['targets']>[number];

export type Capability = NonNullable<TargetSettings['capabilities']>[number];

/** A model of a provider. */
export interface Target {
  readonly provider: LlmProvider;
  /** As the provider names it. */
  readonly model: string;
  readonly maxOutputTokens?: number | undefined;
  /** Undefined: all of them. */
  readonly capabilities?: ReadonlySet<Capability> | undefined;
  readonly breaker: Breaker;
}

export type Critic = NonNullable<AliasSettings['critic']>;

/** What an alias means to a tenant. */
export interface Model {
  readonly critic?: Critic | undefined;
  readonly alias: string;
  /** In the order in which they are asked. */
  readonly targets: readonly Target[];
}

interface OrderedModel extends Model {
  readonly order: AliasSettings['order'];
}

export interface ModelsOptions {
  readonly breaker: BreakerOptions;
  readonly prices: Pick<Prices, 'costOf'>;
}

/** A question and its answer, to compare prices by. */
const TYPICAL_USAGE = {
  inputTokens: 3000,
  outputTokens: 500,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
};

/** The aliases that one tenant, or every other one, may name. */
interface Choice {
  readonly default: OrderedModel;
  readonly byAlias: ReadonlyMap<string, OrderedModel>;
}

/** Model aliases, resolved when a table is read so that a wrong one is found before a turn names it. */
export class Models {
  readonly #providers: ReadonlyMap<string, LlmProvider>;
  readonly #options: ModelsOptions;
  /** By provider and model: a new table does not close the breaker of a target that both name. */
  #breakers: ReadonlyMap<string, Breaker> = new Map();
  #pod: Choice;
  #tenants: ReadonlyMap<string, Choice> = new Map();

  /** @throws config.invalid that names the wrong setting. */
  constructor(
    table: ModelTable,
    providers: ReadonlyMap<string, LlmProvider>,
    options: ModelsOptions,
  ) {
    this.#providers = providers;
    this.#options = options;
    this.#pod = this.replace(table);
  }

  /** Turns that run keep the targets they began with. @throws config.invalid; then the old table stays. */
  replace({ default: byDefault, aliases, tenants }: ModelTable): Choice {
    const breakers = new Map<string, Breaker>();
    const pod = this.#choice({ aliases, byDefault }, 'models', { breakers });
    const byTenant = Object.entries(tenants).map(([tenant, own]): [string, Choice] => {
      const given = { aliases: own.aliases, byDefault: own.default ?? byDefault };
      return [tenant, this.#choice(given, `models.tenants.${tenant}`, { breakers, base: pod })];
    });
    this.#breakers = breakers;
    this.#pod = pod;
    this.#tenants = new Map(byTenant);
    return pod;
  }

  /** Those of tenants without a table of their own, the default first. */
  get aliases(): readonly string[] {
    const { default: first, byAlias } = this.#pod;
    return [first.alias, ...[...byAlias.keys()].filter((alias) => alias !== first.alias)];
  }

  /** Each target once. */
  get targets(): readonly Target[] {
    const choices = [this.#pod, ...this.#tenants.values()];
    const models = choices.flatMap(({ byAlias }) => [...byAlias.values()]);
    const byBreaker = new Map(
      models.flatMap(({ targets }) => targets.map((target) => [target.breaker, target])),
    );
    return [...byBreaker.values()];
  }

  /** An empty alias is the default. @throws provider.unknown_model */
  resolve(alias: string, tenant: string): Model {
    const choice = this.#tenants.get(tenant) ?? this.#pod;
    const model = alias === '' ? choice.default : choice.byAlias.get(alias);
    if (model === undefined) {
      throw new ZlError('provider.unknown_model', `no model alias "${alias}"`);
    }
    if (model.order !== 'cheapest') return model;
    const targets = model.targets.toSorted((one, other) => this.#cost(one) - this.#cost(other));
    return { alias: model.alias, targets };
  }

  #cost({ provider, model }: Target): number {
    const target = { provider: provider.name, model };
    return this.#options.prices.costOf(target, TYPICAL_USAGE) ?? Number.MAX_SAFE_INTEGER;
  }

  #choice(
    { aliases, byDefault }: { aliases: ModelTable['aliases']; byDefault: string },
    path: string,
    { breakers, base }: { breakers: Map<string, Breaker>; base?: Choice },
  ): Choice {
    const byAlias = new Map(base?.byAlias);
    for (const [alias, settings] of Object.entries(aliases)) {
      const targets = targetsOf(settings, `${path}.aliases.${alias}`).map(({ at, ...target }) =>
        this.#target(target, at, breakers),
      );
      byAlias.set(alias, { alias, targets, order: settings.order, critic: settings.critic });
    }
    for (const [alias, { critic }] of Object.entries(aliases)) {
      if (critic === undefined || byAlias.has(critic.model)) continue;
      const where = `${path}.aliases.${alias}.critic.model`;
      throw new ZlError('config.invalid', `${where} names "${critic.model}", not an alias`);
    }
    const first = byAlias.get(byDefault);
    if (first === undefined) {
      throw new ZlError('config.invalid', `${path}.default names "${byDefault}", not an alias`);
    }
    return { default: first, byAlias };
  }

  #target(
    { provider: name, model, maxOutputTokens, capabilities, toolCalls }: TargetSettings,
    path: string,
    breakers: Map<string, Breaker>,
  ): Target {
    const provider = this.#providers.get(name);
    if (provider === undefined) {
      throw new ZlError(
        'config.invalid',
        `${path}.provider names "${name}", which is not configured`,
      );
    }
    const key = JSON.stringify([name, model]);
    const breaker =
      breakers.get(key) ?? this.#breakers.get(key) ?? new Breaker(this.#options.breaker);
    breakers.set(key, breaker);
    const able = capabilities && new Set(capabilities);
    const target = { model, maxOutputTokens, breaker };
    if (toolCalls !== 'json') return { ...target, provider, capabilities: able };
    const structuredOutput = able?.has('structuredOutput') ?? true;
    return {
      ...{ ...target, provider: jsonPlanProvider(provider, { structuredOutput }) },
      capabilities: able && new Set([...able, 'tools'] as const),
    };
  }
}

/** Each with its place in the table. */
function targetsOf(
  settings: AliasSettings,
  at: string,
): readonly (TargetSettings & { readonly at: string })[] {
  const { targets, provider, model, order: _, critic: __, ...rest } = settings;
  if (targets !== undefined) {
    const doubled = ['provider', 'model', ...Object.keys(rest)].find((name) => name in settings);
    if (doubled === undefined) {
      return targets.map((target, index) => ({ ...target, at: `${at}.targets.${index}` }));
    }
    throw new ZlError('config.invalid', `${at}.${doubled} and ${at}.targets exclude each other`);
  }
  if (provider === undefined || model === undefined) {
    const missing = provider === undefined ? 'provider' : 'model';
    throw new ZlError('config.invalid', `${at}.${missing} is missing`);
  }
  return [{ provider, model, ...rest, at }];
}
