import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import type { Price, PriceTable, Rates } from '../../../../contracts/gen/prices.d.ts';
import schema from '../../../../contracts/prices/prices.schema.json' with { type: 'json' };
import vendors from '../../../../contracts/prices/vendors.json' with { type: 'json' };

/** A model as the configuration names it. */
export interface ModelTarget {
  /** The provider's name in providers.vendors. */
  readonly provider: string;
  /** As the provider names it. */
  readonly model: string;
}

export interface PricedUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Both are part of the input. */
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
}

export interface PricesOptions {
  /** The type of each provider by its name. */
  readonly types: ReadonlyMap<string, string>;
  readonly nowMs: () => number;
}

const NANOS_PER_USD = 1_000_000_000;
const TOKENS_PER_RATE = 1_000_000n;
/** Nine million dollars, so that a vendor's absurd count stays an exact number. */
const MAX_COST_NANOS = BigInt(Number.MAX_SAFE_INTEGER);

const validator = compileSchema<PriceTable>(schema, 'built-in');
const shipped = checkPrices(vendors);

/** @throws config.invalid that says what is wrong, and where. */
export function checkPrices(table: unknown): PriceTable {
  const { value, error } = validator.validate(table);
  if (error !== undefined) throw new ZlError('config.invalid', error.message);
  return value;
}

/** The prices that come with the host, and before them a table of the operator's own. */
export class Prices {
  readonly #options: PricesOptions;
  #tables: readonly PriceTable[] = [shipped];
  /** For each target its prices of all days, the closest first. */
  #found = new Map<string, readonly CompiledPrice[]>();

  constructor(options: PricesOptions) {
    this.#options = options;
  }

  /** Replaces the operator's own table for every cost that is asked from now on. */
  use(own: PriceTable): void {
    this.#tables = own.replacesShipped === true ? [own] : [own, shipped];
    this.#found = new Map();
  }

  /** For a component report. */
  get description(): string {
    const named = this.#tables.map(({ version, prices }) => `version ${version}, ${prices.length}`);
    const [first = '', second] = named;
    if (this.#tables[0] === shipped) return `shipped: ${first} prices`;
    return `own: ${first} prices; shipped: ${second === undefined ? 'replaced' : `${second} prices`}`;
  }

  /** In nano-dollars, rounded up; undefined when no table has a price for the model. */
  costOf(target: ModelTarget, usage: PricedUsage): number | undefined {
    const price = this.#find(target);
    if (price === undefined) return undefined;
    const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens } = usage;
    const rates = inputTokens > price.aboveInputTokens ? price.longRates : price.rates;
    const uncached = Math.max(0, inputTokens - cachedInputTokens - cacheWriteTokens);
    const cost =
      BigInt(uncached) * rates.input +
      BigInt(cachedInputTokens) * rates.cachedInput +
      BigInt(cacheWriteTokens) * rates.cacheWrite +
      BigInt(outputTokens) * rates.output;
    const nanos = (cost + TOKENS_PER_RATE - 1n) / TOKENS_PER_RATE;
    return nanos > MAX_COST_NANOS ? Number(MAX_COST_NANOS) : Number(nanos);
  }

  #find(target: ModelTarget): CompiledPrice | undefined {
    const key = JSON.stringify([target.provider, target.model]);
    const prices = this.#found.get(key) ?? this.#candidates(target);
    this.#found.set(key, prices);
    const nowMs = this.#options.nowMs();
    return prices.find(({ fromMs }) => fromMs <= nowMs);
  }

  #candidates({ provider, model }: ModelTarget): readonly CompiledPrice[] {
    const names = [provider, this.#options.types.get(provider)];
    return this.#tables.flatMap(({ prices }) =>
      prices
        .flatMap((price) => {
          const rank = names.findIndex(
            (name) => name !== undefined && price.providers.includes(name),
          );
          const lengths = price.models
            .filter((each) => matches(each, model))
            .map(({ length }) => length);
          if (rank === -1 || lengths.length === 0) return [];
          return [{ rank, length: Math.max(...lengths), ...compilePrice(price) }];
        })
        .sort((a, b) => a.rank - b.rank || b.length - a.length || b.fromMs - a.fromMs),
    );
  }
}

/** Rates are integers of nano-dollars per million tokens, so that no sum is rounded. */
type CompiledRates = Readonly<Record<keyof Required<Rates>, bigint>>;

interface CompiledPrice {
  readonly fromMs: number;
  readonly rates: CompiledRates;
  readonly aboveInputTokens: number;
  readonly longRates: CompiledRates;
}

function compilePrice({ from, usdPerMillionTokens, longContext }: Price): CompiledPrice {
  const rates = compileRates(usdPerMillionTokens);
  return {
    fromMs: from === undefined ? 0 : Date.parse(from),
    rates,
    aboveInputTokens: longContext?.aboveInputTokens ?? Number.POSITIVE_INFINITY,
    longRates: longContext === undefined ? rates : compileRates(longContext.usdPerMillionTokens),
  };
}

function compileRates({ input, output, cachedInput, cacheWrite }: Rates): CompiledRates {
  const nanosOf = (usd: number) => BigInt(Math.round(usd * NANOS_PER_USD));
  return {
    input: nanosOf(input),
    output: nanosOf(output),
    cachedInput: nanosOf(cachedInput ?? input),
    cacheWrite: nanosOf(cacheWrite ?? input),
  };
}

function matches(pattern: string, model: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : pattern === model;
}
