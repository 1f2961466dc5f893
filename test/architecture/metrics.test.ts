import assert from 'node:assert/strict';
import { test } from 'node:test';
import contract from '../../contracts/metrics/metrics.json' with { type: 'json' };
import { isTest, readSources } from './sources.ts';

interface Exported {
  readonly name: string;
  readonly services: readonly string[];
}

const { counters, gauges, histograms } = contract;
const metrics: readonly Exported[] = Object.entries({ ...counters, ...gauges, ...histograms }).map(
  ([name, { services }]) => ({ name, services }),
);
const services = ['model-host', 'tool-relay', 'device-bridge'];
const product = readSources().filter(
  (source) => /^(packages|services)\/[^/]+\/src\//.test(source.path) && !isTest(source),
);

function namedIn(folder: string): string[] {
  const texts = product.filter(({ path }) => path.startsWith(folder)).map(({ text }) => text);
  return metrics
    .map(({ name }) => name)
    .filter((name) => texts.some((t) => t.includes(`'${name}'`)));
}

/** Made with every registry. */
const registry = 'packages/service/src/telemetry/registry.ts';

for (const service of services) {
  test(`[OBS-02] ${service} makes the metrics that the contract says it exports, and no other`, () => {
    const promised = metrics.filter((metric) => metric.services.includes(service));
    assert.ok(promised.length > 0, 'it exports nothing of the contract');
    assert.deepEqual(
      [...namedIn(registry), ...namedIn(`services/${service}/src/`)].sort(),
      promised.map(({ name }) => name).sort(),
    );
  });
}

test('a package tells what it does to an observer, and leaves names to the services', () => {
  assert.deepEqual(namedIn('packages/'), namedIn(registry));
});
