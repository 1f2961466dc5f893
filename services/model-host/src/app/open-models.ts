import { mockProvider } from '../adapters/mock-provider/mock-provider.ts';
import { openScript } from '../adapters/mock-provider/script.ts';
import type { HostConfig } from '../config.ts';
import { Models } from '../providers/models.ts';

export async function openModels({
  models,
  providers,
}: Pick<HostConfig, 'models' | 'providers'>): Promise<Models> {
  const mock = mockProvider(await openScript(providers.mock.scriptFile));
  return new Models(models.aliases, models.default, new Map([['mock', mock]]));
}
