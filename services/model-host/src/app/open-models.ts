import type { ComponentStatus } from '@zerolatency/service/lifecycle';
import { mockProvider } from '../adapters/mock-provider/mock-provider.ts';
import { openScript } from '../adapters/mock-provider/script.ts';
import type { HostConfig } from '../config.ts';
import { Models, type Target } from '../providers/models.ts';
import type { LlmProvider } from '../providers/port.ts';
import type { OpenedKeys } from './open-keys.ts';

export interface OpenedModels {
  readonly models: Models;
  close(): Promise<void>;
}

type ModelKeys = Pick<OpenedKeys, 'read' | 'isOwn'>;

/** Finds wrong aliases and scripts before the first turn; asks no provider. */
export async function openModels(
  { models, providers }: Pick<HostConfig, 'models' | 'providers'>,
  keys: ModelKeys,
): Promise<OpenedModels> {
  const mock = mockProvider(await openScript(providers.mock.scriptFile));
  const byName = new Map<string, LlmProvider>([['mock', mock]]);
  const closing: (() => Promise<void>)[] = [];
  for (const vendor of providers.vendors) {
    const provider = await openVendor(vendor, keys);
    byName.set(vendor.name, provider);
    closing.push(() => provider.close());
  }
  return {
    models: new Models(models, byName, providers.breaker),
    close: async () => void (await Promise.all(closing.map((close) => close()))),
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
