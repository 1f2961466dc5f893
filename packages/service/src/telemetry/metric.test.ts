import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { childBy, createRegistry, gaugeFrom, metric } from './metric.ts';

const folder = new URL('../../../../contracts/metrics/', import.meta.url);

async function readJson(name: string) {
  return JSON.parse(await readFile(new URL(name, folder), 'utf8'));
}

test('[OBS-02] the metric contract keeps its own schema', async () => {
  const ajv = new Ajv2020({ allErrors: true });
  const valid = ajv.compile(await readJson('metrics.schema.json'));
  assert.ok(valid(await readJson('metrics.json')), ajv.errorsText(valid.errors));
});

test('[OBS-02] every metric of the contract can be made, and no name is used twice', async () => {
  const { counters, gauges, histograms } = await readJson('metrics.json');
  const names = [counters, gauges, histograms].flatMap((metrics) => Object.keys(metrics));
  assert.equal(new Set(names).size, names.length);
  const registry = createRegistry({ service: 'test', version: '1' });
  for (const name of names) metric(registry, name as 'zl_host_steps_total').labels();
  for (const name of names) assert.ok(registry.getSingleMetric(name));
  for (const { buckets } of Object.values<{ buckets: number[] }>(histograms)) {
    assert.deepEqual(
      buckets,
      [...buckets].sort((a, b) => a - b),
    );
  }
});

test('a metric is created once and counts every increment', async () => {
  const registry = createRegistry({ service: 'test', version: '1' });
  const labels = { outcome: 'done', error_id: 'none' };
  metric(registry, 'zl_host_turns_total').labels(labels).inc();
  metric(registry, 'zl_host_turns_total').labels(labels).inc(2);
  metric(registry, 'zl_relay_queued_bytes').labels({ to: 'device' }).set(7);
  metric(registry, 'zl_host_to_device_rtt_ms').labels({ hop: 'link' }).observe(0.2);
  metric(registry, 'zl_host_steps_total').labels().inc();
  const text = await registry.metrics();
  assert.match(text, /^zl_host_turns_total\{outcome="done",error_id="none",service="test"\} 3$/m);
  assert.match(text, /^zl_relay_queued_bytes\{to="device",service="test"\} 7$/m);
  assert.match(
    text,
    /^zl_host_to_device_rtt_ms_bucket\{le="0\.25",service="test",hop="link"\} 1$/m,
  );
  assert.match(text, /^zl_host_steps_total\{service="test"\} 1$/m);
  assert.match(text, /^process_cpu_seconds_total\{service="test"\}/m);
});

test('a gauge can be read when it is scraped', async () => {
  const registry = createRegistry({ service: 'test', version: '1' });
  let open = 1;
  gaugeFrom(registry, 'zl_relay_links_open', () => open);
  open = 5;
  assert.match(await registry.metrics(), /^zl_relay_links_open\{service="test"\} 5$/m);
});

test('a name that is not in the contract is refused', () => {
  const registry = createRegistry({ service: 'test', version: '1' });
  assert.throws(() => metric(registry, 'zl_made_up_total' as 'zl_host_steps_total'), /contract/);
});

test('[OBS-02] however many values a label is given, its series stay within the bound', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string(), { maxLength: 300 }), async (values) => {
      const registry = createRegistry({ service: 'test', version: '1' });
      const restarts = metric(registry, 'zl_bridge_server_restarts_total');
      const lost = metric(registry, 'zl_relay_route_lost_total');
      for (const value of values) {
        restarts.labels({ server: value }).inc();
        lost.labels({ reason: value }).inc();
      }
      const seriesOf = async (name: string) => {
        const json = (await registry.getMetricsAsJSON()).find((found) => found.name === name);
        return json?.values ?? [];
      };
      const series = await seriesOf('zl_bridge_server_restarts_total');
      assert.ok(series.length <= 51);
      assert.equal(
        series.reduce((sum, { value }) => sum + value, 0),
        values.length,
      );
      const reasons = (await seriesOf('zl_relay_route_lost_total')).map(
        ({ labels }) => labels.reason,
      );
      assert.ok(reasons.every((reason) => reason === 'other' || reason === 'slow'));
    }),
    { numRuns: 20 },
  );
});

/** @internal The compiler checks it: labels are those of the contract, no more and no fewer. */
export function typedByTheContract(): void {
  const registry = createRegistry({ service: 'test', version: '1' });
  // @ts-expect-error -- error_id is missing
  metric(registry, 'zl_host_turns_total').labels({ outcome: 'done' });
  // @ts-expect-error -- a counter has no set
  metric(registry, 'zl_host_steps_total').labels().set(1);
  // @ts-expect-error -- not in the contract
  metric(registry, 'zl_unknown');
  // @ts-expect-error -- labels are missing
  metric(registry, 'zl_relay_queued_bytes').labels();
}

test('a child is bound once for each value of its label', async () => {
  const registry = createRegistry({ service: 'test', version: '1' });
  const records = metric(registry, 'zl_ledger_records_total');
  const bound: string[] = [];
  const ofKind = childBy((kind: string) => {
    bound.push(kind);
    return records.labels({ kind });
  });
  for (const kind of ['turn', 'call.intent', 'turn']) ofKind(kind).inc();
  assert.deepEqual(bound, ['turn', 'call.intent']);
  assert.match(await registry.metrics(), /^zl_ledger_records_total\{kind="turn",.*\} 2$/m);
});
