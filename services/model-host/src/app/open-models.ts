import { once } from 'node:events';
import { ZlError } from '@zerolatency/errors';
import { counted } from '@zerolatency/service/counted';
import type { ComponentCheck, ComponentStatus } from '@zerolatency/service/lifecycle';
import type { AiSdkProvider } from '../adapters/ai-sdk/ai-sdk-provider.ts';
import { mockProvider } from '../adapters/mock-provider/mock-provider.ts';
import { openScript } from '../adapters/mock-provider/script.ts';
import { type HostConfig, readModelTable } from '../config.ts';
import { Models, type Target } from '../providers/models.ts';
import type { LlmProvider } from '../providers/port.ts';
import type { Prices } from '../providers/prices.ts';
import type { OpenedKeys } from './open-keys.ts';
import { type TableOptions, watchTable } from './watch-table.ts';

/** A provider that cannot be reached delays the start by no more. */
const WARM_MS = 2000;

export interface OpenedModels {
  readonly models: Models;
  /** Opens a connection to each provider, so that the first turn finds it; never rejects. */
  warm(onCold: (provider: string, reason: unknown) => void): Promise<void>;
  readonly status: ComponentCheck;
  close(): Promise<void>;
}

type ModelKeys = Pick<OpenedKeys, 'read' | 'isOwn'>;

export interface ModelsDeps {
  readonly keys: ModelKeys;
  readonly prices: Pick<Prices, 'costOf'>;
  readonly log: TableOptions['log'];
  /** A version of the table file was read. */
  readonly onTable: (result: 'applied' | 'refused') => void;
}

/** Finds wrong aliases and scripts before the first turn; asks no provider. */
export async function openModels(
  { models: { tableFile, ...given }, providers }: Pick<HostConfig, 'models' | 'providers'>,
  { keys, prices, log, onTable }: ModelsDeps,
): Promise<OpenedModels> {
  const mock = mockProvider(await openScript(providers.mock.scriptFile));
  const byName = new Map<string, LlmProvider>([['mock', mock]]);
  const vendors: AiSdkProvider[] = [];
  for (const vendor of providers.vendors) {
    const provider = await openVendor(vendor, keys);
    byName.set(vendor.name, provider);
    vendors.push(provider);
  }
  const models = new Models(given, byName, { breaker: providers.breaker, prices });
  const use = (_: unknown, text: string) => {
    try {
      models.replace(readModelTable(text));
      onTable('applied');
    } catch (reason) {
      onTable('refused');
      throw reason;
    }
  };
  const table = await watchTable({ file: tableFile, setting: 'models.tableFile', use, log });
  return {
    models,
    async warm(onCold) {
      const warming = vendors.map(async (vendor) => {
        const late = once(AbortSignal.timeout(WARM_MS), 'abort').then(() => {
          throw new ZlError('peer.timeout', `no connection after ${WARM_MS} ms`);
        });
        await Promise.race([vendor.warm(), late]).catch((reason) => onCold(vendor.name, reason));
      });
      await Promise.all(warming);
    },
    status: async () => ({
      ...table.status(counted(models.targets.length, 'target')),
      choices: models.aliases,
    }),
    close: async () => {
      table.close();
      await Promise.all(vendors.map((vendor) => vendor.close()));
    },
  };
}

async function openVendor(
  { key: _, ...vendor }: HostConfig['providers']['vendors'][number],
  keys: ModelKeys,
) {
  const { name: provider } = vendor;
  const readKey = (tenant: string, isRefused: boolean) =>
    keys.read({ provider, tenant, isRefused });
  // A third of a second and 40 MiB, which a host without vendors does not need.
  const { openAiSdkProvider } = await import('../adapters/ai-sdk/ai-sdk-provider.ts');
  const hasOwnAccount = (tenant: string) => keys.isOwn({ provider, tenant });
  return openAiSdkProvider({ ...vendor, readKey, hasOwnAccount });
}

/** Degraded while a target is not asked: requests go to the others of the alias, or are refused. */
export function reportBreakers(targets: readonly Target[]): ComponentStatus {
  const open = targets.filter(({ breaker }) => breaker.state !== 'closed');
  if (open.length === 0) return { status: 'ok' };
  const names = open.map(({ provider, model, breaker }) => {
    return `${provider.name}/${model} (${breaker.state})`;
  });
  return { status: 'degraded', detail: `keep failing: ${names.join(', ')}` };
}
