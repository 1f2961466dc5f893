import { collectDefaultMetrics, Registry } from 'prom-client';

export { Registry };

/** A registry of its own per service, so that several can live in one process. */
export function createRegistry({ service }: { service: string }): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return registry;
}
