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
const SERVICES = ['model-host', 'tool-relay', 'device-bridge'];
const product = readSources().filter(
  (source) => /^(packages|services)\/[^/]+\/src\//.test(source.path) && !isTest(source),
);

function namedIn(folder: string): string[] {
  const texts = product.filter(({ path }) => path.startsWith(folder)).map(({ text }) => text);
  return metrics
    .map(({ name }) => name)
    .filter((name) => texts.some((t) => t.includes(`'${name}'`)));
}

/** What runProgram makes for every service. */
const everywhere = namedIn('packages/service/src/telemetry/');

/** What packages/service makes for the services that call these. */
function sharedBy(service: string): string[] {
  const own = product.filter(({ path }) => path.startsWith(`services/${service}/src/`));
  const calls = (name: string) => own.some(({ text }) => text.includes(`${name}(`));
  return [
    ...(calls('exposeCertificate') ? namedIn('packages/service/src/tls/') : []),
    ...(calls('exposeListener') ? namedIn('packages/service/src/rpc/') : []),
  ];
}

for (const service of SERVICES) {
  test(`[OBS-02] ${service} makes the metrics that the contract says it exports, and no other`, () => {
    const promised = metrics.filter((metric) => metric.services.includes(service));
    assert.ok(promised.length > 0, 'it exports nothing of the contract');
    assert.deepEqual(
      [...everywhere, ...sharedBy(service), ...namedIn(`services/${service}/src/`)].sort(),
      promised.map(({ name }) => name).sort(),
    );
  });
}

test('packages other than service report to observers and name no metrics', () => {
  assert.deepEqual(namedIn('packages/').sort(), namedIn('packages/service/').sort());
});
