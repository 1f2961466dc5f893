import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { type ExportedSpan, eventually, OtlpCollector } from '@zerolatency/testing';
import contract from '../../contracts/metrics/metrics.json' with { type: 'json' };
import { chatTarget } from '../../services/cli/src/commands/chat.ts';
import { curlStream } from './curl.ts';
import { addServers, editConfig } from './effects.ts';
import { logged, logLines } from './logs.ts';
import { familyOf, movedBetween, readScrape, type Scrape, sumOf } from './scrape.ts';
import { CALL_SERVICES, callTool, type System, startSystem } from './system.ts';

/** A server that returns its arguments or logs them. */
const mirror = join(import.meta.dirname, '../../packages/mcp/test/servers/server.ts');
const SECRET = `ghp_${'Zx8K'.repeat(9)}`;
/** Metrics that such a chat does not move: nothing fails, connects, leaves or is exported. */
const UNMOVED: Readonly<Record<(typeof CALL_SERVICES)[number], readonly string[]>> = {
  'model-host': [
    'zl_host_call_resumes_total',
    // With a critic, a Redis, limits, a model table or key sets at URLs.
    'zl_host_critiques_total',
    'zl_host_limit_decisions_total',
    'zl_host_limit_refusals_total',
    'zl_host_limit_switches_total',
    'zl_host_model_tables_read_total',
    'zl_host_turn_log_appends_total',
    'zl_identity_key_set_reads_total',
    'zl_host_provider_fallbacks_total',
    'zl_host_resumes_total',
    'zl_host_turn_queue_seconds',
    'zl_host_unreadable_replies_total',
    // The mock provider is free.
    'zl_host_cost_usd_total',
    'zl_host_deltas_merged_total',
    'zl_host_frames_ignored_total',
    'zl_host_unpriced_requests_total',
    'zl_ledger_checkpoint_exported_timestamp_seconds',
    'zl_ledger_checkpoint_exports_total',
    'zl_policy_bundles_refused_total',
    'zl_revocations_refused_total',
    'zl_rpc_cut_total',
  ],
  'tool-relay': [
    'zl_relay_frames_ignored_total',
    'zl_relay_frames_refused_total',
    'zl_relay_moved_total',
    'zl_relay_reads_paused_seconds_total',
    'zl_relay_redirects_total',
    'zl_relay_route_lost_total',
    'zl_relay_sessions_total',
    'zl_relay_stream_requests_total',
    'zl_relay_unadmitted_total',
    'zl_rpc_cut_total',
    // In the role registrar, and with a Redis.
    'zl_registrar_codes_total',
    'zl_registrar_enrolments_total',
    'zl_registrar_renewals_total',
    'zl_relay_directory_operations_total',
    'zl_revocations_refused_total',
    // The relay reads no payload, so it masks nothing.
    'zl_masked_secrets_total',
  ],
  'device-bridge': [
    'zl_bridge_connects_total',
    'zl_bridge_frames_ignored_total',
    'zl_bridge_journal_write_failures_total',
    'zl_bridge_calls_refused_total',
    'zl_bridge_redirects_total',
    'zl_bridge_renewals_total',
    'zl_bridge_server_restarts_total',
    'zl_policy_bundles_refused_total',
  ],
};
/** Gauges that grow with calls; the others return to their value afterwards. */
const GROWING = ['zl_ledger_size_records', 'zl_bridge_journal_entries'];

const traceId = randomBytes(16).toString('hex');
const clientSpanId = randomBytes(8).toString('hex');

test('what operators see of a call', { timeout: 300_000 }, async (t) => {
  const collector = await OtlpCollector.start(t);
  // The services inherit it and have no other setting for their collector.
  Object.assign(process.env, collector.env, { OTEL_METRIC_EXPORT_INTERVAL: '1000' });
  const system = await startSystem(t, {
    async prepare(layout) {
      await addServers(layout, [
        { name: 'mirror', args: [mirror, 'well'] },
        { name: 'teller', args: [mirror, 'logs-a-line', SECRET] },
      ]);
      for (const { config } of [layout.host, layout.relay, layout.device]) {
        await editConfig(config, { log: { level: 'debug' } });
      }
      writeFileSync(join(layout.device.files, 'secret.txt'), `the token is ${SECRET}`);
    },
  });
  const { layout, settings } = system;
  const { token, deviceId } = await chatTarget(settings, {});
  const before = await scrapeAll(system);
  const told = await curlStream(layout, {
    url: `${settings.host.url}/zerolatency.agent.v1.AgentService/Chat`,
    token,
    headers: [`traceparent: 00-${traceId}-${clientSpanId}-01`],
    body: { start: { text: `call mirror.echo {"note":"${SECRET}"}`, deviceId, sessionId: 's-1' } },
  });
  // Both its result and its failure hold a secret.
  await callTool(system, 'fs.read', { path: 'secret.txt' });
  await callTool(system, 'fs.read', { path: `${SECRET}.txt` });
  await callTool(system, 'teller.echo', {});
  await logged(system, 'device-bridge', {
    fits: ({ msg, server }) => msg === 'server stderr' && server === 'teller',
  });

  await t.test(
    "[OBS-01] one trace leads from the client's span through host, relay and bridge to the server",
    async () => {
      const names = ['turn', 'tool.call', 'Locate', 'bridge.call'];
      const spans = await eventually(() => {
        const found = collector.ofTrace(traceId);
        return names.every((name) => found.some((span) => span.name === name)) && found;
      });
      const span = (name: string) => spans.find((each) => each.name === name)!;
      assert.deepEqual(
        names.map((name) => [name, span(name).service, parentNameOf(span(name), spans)]),
        [
          ['turn', 'model-host', 'client'],
          ['tool.call', 'model-host', 'turn'],
          ['Locate', 'tool-relay', 'turn'],
          ['bridge.call', 'device-bridge', 'tool.call'],
        ],
      );
      const result = JSON.stringify(told).replaceAll('\\', '');
      const [, received] = /"traceparent":"([^"]+)"/.exec(result) ?? [];
      assert.equal(received, `00-${traceId}-${span('bridge.call').spanId}-01`);
    },
  );

  await t.test(
    '[OBS-01] [HOST-11] tenant, session and audit record are on the span of the turn',
    async () => {
      const turn = collector.ofTrace(traceId).find(({ name }) => name === 'turn')!;
      const { tenant, user, session_id, audit_id, device_id } = turn.attributes;
      assert.deepEqual([tenant, user, session_id, device_id], ['local', 'me', 's-1', deviceId]);
      const done = JSON.stringify(told.at(-2));
      assert.ok(done.includes(`"auditId":"${audit_id}"`), done);
    },
  );

  await t.test('[OBS-06] metrics and logs of all three services reach the collector', async () => {
    for (const service of CALL_SERVICES) {
      await eventually(() => collector.logs.some((log) => log.service === service));
      await eventually(() =>
        collector.pointsOf('zl_build_info').some((point) => point.service === service),
      );
    }
    const ended = collector.logs.find(({ body }) => body.stringValue === 'turn ended');
    // Spans and logs leave a service in batches of their own.
    await eventually(() =>
      collector.ofTrace(ended?.traceId ?? '').some(({ name }) => name === 'turn'),
    );
  });

  await t.test('[OBS-02] every metric and label is in the contract, at all three', async () => {
    for (const [service, { samples, types }] of Object.entries(await scrapeAll(system))) {
      const isOurs = (name: string) => !/^(process|nodejs)_/.test(name);
      const ours = samples.filter(({ name }) => isOurs(name));
      assert.ok(ours.length > 0, service);
      for (const { name, labels } of ours) {
        const family = familyOf(name, types);
        const known = entryOf(family);
        assert.ok(known !== undefined, `${service}: ${name} is not in the contract`);
        const allowed = [...Object.keys(known.labels), 'service', 'le'];
        assert.deepEqual(
          Object.keys(labels).filter((label) => !allowed.includes(label)),
          [],
          name,
        );
        assert.ok(
          Object.values(labels).every((value) => value !== ''),
          `${name} has an empty label`,
        );
        assert.equal(labels.service, service);
      }
    }
  });

  await t.test(
    '[OBS-02] the counters of host, relay and bridge have moved with the calls',
    async () => {
      const after = await scrapeAll(system);
      const moved = (service: keyof typeof after, name: string, labels = {}) =>
        sumOf(after[service], name, labels) - sumOf(before[service], name, labels);
      const done = { tool: 'mirror.echo', outcome: 'done', error_id: 'none' };
      assert.equal(moved('model-host', 'zl_host_tool_calls_total', done), 1);
      assert.equal(moved('device-bridge', 'zl_bridge_calls_total', done), 1);
      const failed = { tool: 'fs.read', outcome: 'failed', error_id: 'fs.not_found' };
      assert.equal(moved('model-host', 'zl_host_tool_calls_total', failed), 1);
      assert.equal(moved('device-bridge', 'zl_bridge_calls_total', failed), 1);
      assert.equal(moved('model-host', 'zl_host_turns_total', { outcome: 'done' }), 4);
      assert.equal(moved('model-host', 'zl_policy_decisions_total', { effect: 'allow' }), 4);
      assert.equal(moved('model-host', 'zl_host_to_device_rtt_ms_count', { hop: 'device' }), 3);
      assert.ok(moved('model-host', 'zl_host_tokens_total', { model: 'mock' }) > 0);
      // CALL and ACK for each call; DATA and OUTCOME for successful ones.
      assert.ok(moved('tool-relay', 'zl_relay_frames_total', { from: 'host' }) >= 6);
      assert.ok(moved('tool-relay', 'zl_relay_frames_total', { from: 'device' }) >= 5);
      assert.equal(sumOf(after['tool-relay'], 'zl_relay_devices_live'), 1);
      assert.equal(sumOf(after['device-bridge'], 'zl_bridge_connected'), 1);
    },
  );

  await t.test(
    '[OBS-02] every metric that a turn with a tool call must move has moved, at all three',
    async () => {
      const after = await scrapeAll(system);
      for (const service of CALL_SERVICES) {
        const moved = movedBetween(before[service], after[service]);
        const counted = promisedBy(service, { ...contract.counters, ...contract.histograms });
        const mustMove = [...counted, ...promisedBy(service, contract.gauges, GROWING)];
        assert.deepEqual(
          mustMove.filter((name) => !moved.has(name) && !UNMOVED[service].includes(name)),
          [],
          service,
        );
        const gauges = promisedBy(service, contract.gauges);
        assert.deepEqual(
          gauges.filter(
            (name) =>
              after[service].types.get(name) !== 'gauge' && !UNMOVED[service].includes(name),
          ),
          [],
          service,
        );
      }
    },
  );

  await t.test(
    '[OBS-02] host and bridge report their bundle and how long it is valid',
    async () => {
      const after = await scrapeAll(system);
      const { payload } = JSON.parse(readFileSync(layout.policy.bundle, 'utf8'));
      const published = JSON.parse(Buffer.from(payload, 'base64').toString());
      for (const service of ['model-host', 'device-bridge'] as const) {
        const [version, age, left] = ['version', 'age_seconds', 'expires_seconds'].map((figure) =>
          sumOf(after[service], `zl_policy_bundle_${figure}`),
        );
        assert.equal(version, published.version, service);
        assert.ok(age! > 0 && left! > 0, `${service}: ${age} ${left}`);
      }
    },
  );

  await t.test('[OBS-04] every log line is JSON, and those of a call carry its trace', async () => {
    for (const service of CALL_SERVICES)
      assert.ok((await logLines(system, service)).length > 1, service);
    const fits = ({ trace_id }: Readonly<Record<string, unknown>>) => trace_id === traceId;
    const ended = await logged(system, 'model-host', {
      fits: (line) => fits(line) && line.msg === 'turn ended',
    });
    assert.equal(ended.tenant, 'local');
    const onDevice = await logged(system, 'device-bridge', { fits });
    assert.equal(onDevice.msg, 'call ended');
    const call = await logged(system, 'model-host', {
      fits: (line) => fits(line) && line.msg === 'call ended',
    });
    assert.deepEqual([call.turn_id, call.call_id], [ended.turn_id, onDevice.call_id]);
    for (const service of CALL_SERVICES) {
      // A program announces its addresses in a line without a level.
      const lines = (await logLines(system, service)).filter((line) => 'level' in line);
      const keys = lines.flatMap((line) => Object.keys(line));
      assert.deepEqual(
        keys.filter((key) => /[A-Z]/.test(key)),
        [],
        service,
      );
    }
  });

  await t.test('[OBS-04] [RED-01] no log, trace or scrape holds a secret', async () => {
    const key = (file: string) => readFileSync(file, 'utf8').split('\n')[1] ?? '';
    const secrets = {
      'the token in a file and in arguments': SECRET,
      "the person's token": token,
      'its signature': token.split('.')[2] ?? '',
      "the device's key": key(layout.device.key),
      "the device's credential": readFileSync(layout.device.credential, 'utf8').trim(),
      "the host's receipt key": key(layout.host.key),
      "the host's TLS key": key(layout.tls('model-host').key),
    };
    const scrapes = JSON.stringify(await scrapeAll(system));
    // A service exports what is pending when it stops.
    for (const service of CALL_SERVICES) await system.stop(service);
    const logs = await Promise.all(CALL_SERVICES.map((service) => system.log(service)));
    const all = [...logs, collector.received, scrapes].join('\n');
    for (const [what, value] of Object.entries(secrets)) {
      assert.ok(value.length > 20, what);
      assert.ok(!all.includes(value), what);
    }
    for (const service of CALL_SERVICES) await system.start(service);
    await system.healthy();
  });

  await t.test('[HOST-13] probes and the component report of host and relay', async () => {
    for (const [service, url] of [
      ['model-host', settings.host.adminUrl],
      ['tool-relay', settings.relay.adminUrl],
    ] as const) {
      for (const probe of ['livez', 'readyz', 'startupz']) {
        assert.equal((await fetch(`${url}/${probe}`)).status, 200, `${service} ${probe}`);
      }
      const report = JSON.parse(await (await fetch(`${url}/health`)).text());
      assert.deepEqual([report.service, report.state, report.status], [service, 'ready', 'ok']);
      assert.match(report.configDigest, /^sha256:/);
      assert.ok(report.components.length > 1);
      for (const component of report.components) {
        assert.equal(component.status, 'ok', component.name);
        assert.equal(typeof component.latencyMs, 'number');
      }
    }
  });
});

function parentNameOf({ parentSpanId }: ExportedSpan, spans: readonly ExportedSpan[]): string {
  if (parentSpanId === clientSpanId) return 'client';
  return spans.find(({ spanId }) => spanId === parentSpanId)?.name ?? 'nobody';
}

function promisedBy(
  service: string,
  metrics: Readonly<Record<string, { readonly services: readonly string[] }>>,
  among?: readonly string[],
): string[] {
  return Object.entries(metrics)
    .filter(
      ([name, metric]) => metric.services.includes(service) && (among?.includes(name) ?? true),
    )
    .map(([name]) => name);
}

function entryOf(name: string): { labels: object } | undefined {
  const { counters, gauges, histograms } = contract;
  const all: Record<string, { labels: object }> = { ...counters, ...gauges, ...histograms };
  return all[name];
}

async function scrapeAll({ settings, layout }: System) {
  const overHttp = async (url: string) => readScrape(await (await fetch(`${url}/metrics`)).text());
  // A device listens on no port.
  const socket = connect(join(layout.device.state, 'metrics.sock'));
  return {
    'model-host': await overHttp(settings.host.adminUrl),
    'tool-relay': await overHttp(settings.relay.adminUrl),
    'device-bridge': readScrape(await text(socket)),
  } satisfies Record<string, Scrape>;
}
