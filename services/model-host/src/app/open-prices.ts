import type { ComponentCheck } from '@zerolatency/service/lifecycle';
import type { HostConfig } from '../config.ts';
import { checkPrices, Prices } from '../providers/prices.ts';
import { type TableOptions, watchTable } from './watch-table.ts';

export interface OpenedPrices {
  readonly prices: Prices;
  readonly status: ComponentCheck;
  close(): void;
}

/** The shipped prices and the operator's. @throws config.invalid */
export async function openPrices(
  { vendors, pricesFile: file }: HostConfig['providers'],
  log: TableOptions['log'],
): Promise<OpenedPrices> {
  const types = new Map(vendors.map(({ name, type }) => [name, type]));
  const prices = new Prices({ types, nowMs: Date.now });
  const use = (table: unknown) => prices.use(checkPrices(table));
  const table = await watchTable({ file, setting: 'providers.pricesFile', use, log });
  return { prices, status: async () => table.status(prices.description), close: table.close };
}
