import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { context, diag, logs, metrics, trace } from '@opentelemetry/api';
import { ZlError } from '@zerolatency/errors';
import { eventually, OtlpCollector } from '@zerolatency/testing';
import { createLogger } from './logger.ts';
import { createRegistry, metric } from './metric.ts';
import { openTelemetry } from './open-telemetry.ts';
import { inSpan } from './tracing.ts';

const KEY = 'sk-ant-0123456789abcdef0123456789';

// The SDK registers itself with the process.
after(() => {
  for (const api of [trace, metrics, logs, context, diag]) api.disable();
});

/** The SDK reads the environment of the process and nothing else. */
function setEnv(t: TestContext, variables: Readonly<Record<string, string>>): void {
  Object.assign(process.env, variables);
  t.after(() => {
    for (const name of Object.keys(variables)) delete process.env[name];
    for (const api of [trace, metrics, logs, diag]) api.disable();
  });
}

async function open(t: TestContext, variables: Readonly<Record<string, string>>) {
  setEnv(t, variables);
  const registry = createRegistry({ service: 'model-host', version: '0.1.0' });
  const telemetry = await openTelemetry({
    service: 'model-host',
    version: '0.1.0',
    registry,
    env: process.env,
  });
  const lines: string[] = [];
  const log = createLogger({
    service: 'model-host',
    version: '0.1.0',
    level: 'info',
    destination: { write: (line: string) => void lines.push(line) },
    ...(telemetry.sendLog && { forward: telemetry.sendLog }),
  });
  return { telemetry, registry, log, lines };
}

test('[OBS-01] spans reach an OTLP collector, with their parents and without secrets', async (t) => {
  const collector = await OtlpCollector.start(t);
  const { telemetry } = await open(t, collector.env);
  const attributes = { tenant: 'north', session_id: 's1', audit_id: 'a1', prompt: KEY };
  let parentId = '';
  await inSpan(telemetry.tracer, 'turn', { attributes, kind: 'server' }, async (span) => {
    parentId = span.spanContext().spanId;
    await inSpan(telemetry.tracer, 'call', {}, async () => {
      throw new ZlError('tool.failed', `could not use ${KEY}`);
    }).catch(() => {});
  });
  await telemetry.shutdown();
  assert.doesNotMatch(collector.received, /0123456789abcdef/);
  const [call, turn] = collector.spans;
  assert.deepEqual([turn?.name, call?.name, call?.parentSpanId], ['turn', 'call', parentId]);
  assert.equal(turn?.service, 'model-host');
  assert.equal(call?.traceId, turn?.traceId);
  assert.equal(turn?.attributes.session_id, 's1');
  assert.equal(call?.attributes['error.type'], 'tool.failed');
  assert.equal(call?.status.code, 2);
});

test('[OBS-06] log lines reach the collector with trace ids and without secrets', async (t) => {
  const collector = await OtlpCollector.start(t);
  const { telemetry, log, lines } = await open(t, collector.env);
  await inSpan(telemetry.tracer, 'turn', {}, async () => {
    log.warn({ device_id: 'd1', err: new Error(KEY) }, `could not use ${KEY}`);
  });
  await telemetry.shutdown();
  assert.doesNotMatch(collector.received, /0123456789abcdef/);
  const [record] = collector.logs;
  assert.equal(record?.body.stringValue, 'could not use [masked:anthropic-key]');
  assert.equal(record?.severityNumber, 13);
  assert.equal(record?.attributes.device_id, 'd1');
  assert.equal(record?.traceId, collector.spans[0]?.traceId);
  assert.equal(lines.length, 1, 'the line is still written');
});

test('[OBS-06] metrics reach the collector with the values that Prometheus scrapes', async (t) => {
  const collector = await OtlpCollector.start(t);
  const { telemetry, registry } = await open(t, collector.env);
  metric(registry, 'zl_host_turns_total').labels({ outcome: 'done', error_id: 'none' }).inc(3);
  const times = metric(registry, 'zl_host_turn_duration_seconds').labels({ outcome: 'done' });
  for (const seconds of [0.001, 0.001, 100_000]) times.observe(seconds);
  await telemetry.shutdown();
  const [turns] = collector.pointsOf('zl_host_turns_total');
  assert.equal(turns?.asDouble, 3);
  assert.equal(turns?.attributes.outcome, 'done');
  const [durations] = collector.pointsOf('zl_host_turn_duration_seconds');
  assert.equal(durations?.count, 3);
  assert.equal(durations?.sum, 100_000.002);
  assert.equal(durations?.bucketCounts?.length, (durations?.explicitBounds?.length ?? 0) + 1);
  assert.equal(durations?.bucketCounts?.[0], 2);
  assert.equal(durations?.bucketCounts?.at(-1), 1, 'buckets are not cumulative in OTLP');
  assert.ok(collector.pointsOf('zl_build_info').length > 0);
});

test('an OTEL_METRIC_EXPORT_INTERVAL that is not a number is ignored', async (t) => {
  const collector = await OtlpCollector.start(t);
  const { telemetry } = await open(t, { ...collector.env, OTEL_METRIC_EXPORT_INTERVAL: '60s' });
  await inSpan(telemetry.tracer, 'turn', {}, async () => {});
  // Spans wait for a second, in which an interval that was misread would send metrics.
  await eventually(() => collector.spans.length > 0);
  await telemetry.shutdown();
  assert.equal(collector.pointsOf('zl_build_info').length, 1);
});

test('[OBS-06] OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES name the service', async (t) => {
  const collector = await OtlpCollector.start(t);
  const { telemetry } = await open(t, {
    ...collector.env,
    OTEL_SERVICE_NAME: 'host-of-north',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=staging',
  });
  await inSpan(telemetry.tracer, 'turn', {}, async () => {});
  await telemetry.shutdown();
  assert.equal(collector.spans[0]?.service, 'host-of-north');
  assert.match(collector.received, /staging/);
  assert.doesNotMatch(collector.received, /process\.command/);
});

test('[OBS-06] OTEL_TRACES_SAMPLER decides which traces are exported', async (t) => {
  const collector = await OtlpCollector.start(t);
  const sampler = { OTEL_TRACES_SAMPLER: 'parentbased_always_off' };
  const { telemetry } = await open(t, { ...collector.env, ...sampler });
  await inSpan(telemetry.tracer, 'turn', {}, async () => {});
  await telemetry.shutdown();
  assert.deepEqual(collector.spans, []);
});

test('a signal without an endpoint, or switched off, is not exported', async (t) => {
  const collector = await OtlpCollector.start(t);
  const { OTEL_EXPORTER_OTLP_ENDPOINT = '', ...protocol } = collector.env;
  const { telemetry, log } = await open(t, {
    ...protocol,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces`,
  });
  await inSpan(telemetry.tracer, 'turn', {}, async () => log.info('a line'));
  await telemetry.shutdown();
  assert.equal(collector.spans.length, 1);
  assert.deepEqual([collector.logs, collector.points], [[], []]);
  const off = await open(t, { ...collector.env, OTEL_SDK_DISABLED: 'true' });
  assert.equal(off.telemetry.sendLog, undefined);
  await inSpan(off.telemetry.tracer, 'turn', {}, async () => {});
  await off.telemetry.shutdown();
  assert.equal(collector.spans.length, 1);
});

test('a collector that is gone fails nothing', async (t) => {
  const { telemetry, log } = await open(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_EXPORTER_OTLP_TIMEOUT: '50',
  });
  await inSpan(telemetry.tracer, 'work', {}, async () => log.info('a line'));
  await telemetry.shutdown();
});

test('a protocol that is not supported is named at start', async (t) => {
  const opening = open(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  });
  await assert.rejects(opening, /OTEL_EXPORTER_OTLP_PROTOCOL is grpc; set it to http\/protobuf/);
});
