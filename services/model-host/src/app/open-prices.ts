import { fromLocal, ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import type { ComponentCheck } from '@zerolatency/service/lifecycle';
import type { Logger } from '@zerolatency/service/telemetry';
import type { HostConfig } from '../config.ts';
import { Prices, parsePrices } from '../providers/prices.ts';

export interface OpenedPrices {
  readonly prices: Prices;
  readonly status: ComponentCheck;
  close(): void;
}

const POLL_MS = 1000;

/** The shipped prices and the operator's file, which is read again when it changes. @throws config.invalid */
export async function openPrices(
  { vendors, pricesFile: file }: HostConfig['providers'],
  log: Pick<Logger, 'info' | 'warn'>,
): Promise<OpenedPrices> {
  const named = vendors.map(({ name, type }) => [name, type] as const);
  const prices = new Prices({ types: new Map(named), nowMs: Date.now });
  let fault: string | undefined;
  const watch = watchFiles({
    files: async () => (file === '' ? [] : [file]),
    onChange: (contents) => {
      for (const bytes of contents.values()) prices.use(parsePrices(bytes.toString(), file));
      if (fault !== undefined) log.info({ file }, 'the price table is good again');
      fault = undefined;
    },
    onError: (reason) => {
      fault = fromLocal(reason).message;
      log.warn({ file, err: reason }, 'the price table is refused; the last good one stays');
    },
    pollMs: POLL_MS,
  });
  await watch.check();
  if (fault !== undefined) {
    watch.close();
    throw new ZlError('config.invalid', `providers.pricesFile: ${fault}`);
  }
  return {
    prices,
    status: async () =>
      fault === undefined
        ? { status: 'ok', detail: prices.description }
        : { status: 'degraded', detail: `${prices.description}; ${fault}` },
    close: watch.close,
  };
}
