import { collectDefaultMetrics, Registry } from 'prom-client';
import { metric } from './metric.ts';

export { Registry };

export interface RegistryOptions {
  readonly service: string;
  readonly version: string;
}

/** A registry of its own per service, so that several can live in one process. */
export function createRegistry({ service, version }: RegistryOptions): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  metric(registry, 'zl_build_info').labels({ version }).set(1);
  return registry;
}
