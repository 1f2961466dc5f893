// Generated from contracts/prices/prices.schema.json by `make generate`.

/**
 * What models cost. vendors.json ships with the host; providers.pricesFile of the host names a table whose prices come first.
 */
export interface PriceTable {
  readonly schema: 'zerolatency.prices/v1';
  /**
   * Increases with every change of the table; shown in the component report.
   */
  readonly version: number;
  /**
   * Models that this table does not name have no price, even if the shipped table has one.
   */
  readonly replacesShipped?: boolean;
  readonly prices: readonly Price[];
}
/**
 * When several apply to a model, a provider's name comes before its type, then the longest pattern, then the latest from.
 */
export interface Price {
  /**
   * Names of providers in providers.vendors, or their types.
   */
  readonly providers: readonly string[];
  /**
   * Names of models at the provider. A * at the end stands for any characters.
   */
  readonly models: readonly string[];
  /**
   * The first day of this price, in UTC. Absent: every day.
   */
  readonly from?: string;
  /**
   * Where the price is published, and when it was read.
   */
  readonly source?: string;
  readonly usdPerMillionTokens: Rates;
  /**
   * For requests with more input tokens than aboveInputTokens.
   */
  readonly longContext?: {
    readonly aboveInputTokens: number;
    readonly usdPerMillionTokens: Rates;
  };
}
/**
 * In US dollars, rounded to billionths of a dollar per million tokens.
 */
export interface Rates {
  readonly input: number;
  /**
   * Reasoning included.
   */
  readonly output: number;
  /**
   * Input that the provider read from its cache. Absent: as input.
   */
  readonly cachedInput?: number;
  /**
   * Input that the provider wrote to its cache. Absent: as input.
   */
  readonly cacheWrite?: number;
}
