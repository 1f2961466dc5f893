import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually, tempDir } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import { eventsOf } from './support/streams.ts';
import { answerOf, sendsEvents, vendorServer } from './vendors/vendor-server.ts';

function costsIn(events: readonly ChatEvent[]): (number | undefined)[] {
  return events.flatMap(({ event }) => {
    if (event.case === 'usage') return [event.value.cost?.nanos];
    return event.case === 'assistantDone' ? [event.value.usage?.cost?.nanos] : [];
  });
}

function tableOf(usd: number): string {
  return `
schema: zerolatency.prices/v1
version: 3
prices:
- providers: [anthropic]
  models: [house-*]
  usdPerMillionTokens: { input: ${usd}, output: 0 }`;
}

/** The vendor counts 10 input tokens and 2 output tokens. */
async function priced(t: Parameters<typeof startTestHost>[0], settings: object = {}) {
  const server = await vendorServer(t, sendsEvents(answerOf('anthropic')));
  const pricesFile = join(tempDir(t), 'prices.yaml');
  await writeFile(pricesFile, tableOf(2));
  const spans: Record<string, unknown>[] = [];
  const model = (name: string) => ({ provider: 'claude', model: name });
  const host = await startTestHost(t, {
    env: { KEY: 'sk-test' },
    onSpan: ({ attributes }) => spans.push(attributes),
    settings: {
      'models.default': 'known',
      'models.aliases': {
        known: model('claude-sonnet-4-5'),
        house: model('house-model'),
        unknown: model('claude-next'),
      },
      'providers.pricesFile': pricesFile,
      'providers.vendors': {
        claude: { type: 'anthropic', baseUrl: server.url, key: { env: 'KEY' } },
      },
      ...settings,
    },
  });
  const client = host.client('connect', await host.issuer.token());
  const ask = (alias: string) => eventsOf(client.chat({ start: { text: 'hi', model: alias } }));
  const admin = async (path: string) => (await fetch(`${host.addresses.admin}${path}`)).text();
  return { host, server, client, pricesFile, spans, ask, admin };
}

test('[PROV-02] [OBS-02] a turn reports its cost in events, metrics, spans and logs', async (t) => {
  const { host, spans, ask, admin } = await priced(t);
  // 10 tokens at 3 dollars per million and 2 at 15.
  assert.deepEqual(costsIn(await ask('known')), [60_000, 60_000]);
  assert.deepEqual(costsIn(await ask('house')), [20_000, 20_000]);
  for (let turn = 0; turn < 2; turn++) {
    assert.deepEqual(costsIn(await ask('unknown')), [undefined, undefined]);
  }
  const metrics = await admin('/metrics');
  assert.match(
    metrics,
    /^zl_host_cost_usd_total\{[^}]*provider="claude",model="known"[^}]*\} 0\.00006$/m,
  );
  assert.match(metrics, /^zl_host_unpriced_requests_total\{[^}]*model="unknown"[^}]*\} 2$/m);
  assert.doesNotMatch(metrics, /^zl_host_cost_usd_total\{[^}]*model="unknown"/m);
  assert.deepEqual(
    spans.flatMap((span) => (span.audit_id === undefined ? [] : [span.cost_usd])),
    [0.00006, 0.00002, undefined, undefined],
  );
  const ended = host.logs.filter(({ msg }) => msg === 'turn ended');
  assert.deepEqual(
    ended.map((line) => [line.cost_usd, line.unpriced_calls]),
    [
      [0.00006, 0],
      [0.00002, 0],
      [undefined, 1],
      [undefined, 1],
    ],
  );
  const notes = host.logs.filter(({ msg }) => /no price/.test(String(msg)));
  assert.deepEqual(
    notes.map((line) => line.model),
    ['claude-next'],
  );
});

test('[PROV-02] prices change with their file, and a file that is wrong or gone changes none', async (t) => {
  const { pricesFile, ask, admin } = await priced(t);
  const report = async () =>
    JSON.parse(await admin('/health')).components.find(
      (each: { name: string }) => each.name === 'prices',
    );
  await writeFile(pricesFile, tableOf(4));
  await eventually(async () => costsIn(await ask('house')).includes(40_000));
  assert.equal((await report()).status, 'ok');
  await writeFile(pricesFile, tableOf(-4));
  await eventually(async () => /prices\.0\./.test((await report()).detail));
  await rm(pricesFile);
  await eventually(async () => /does not exist/.test((await report()).detail));
  assert.equal((await report()).status, 'degraded');
  assert.deepEqual(costsIn(await ask('house')), [40_000, 40_000]);
  await writeFile(pricesFile, tableOf(6));
  await eventually(async () => (await report()).status === 'ok');
  assert.deepEqual(costsIn(await ask('house')), [60_000, 60_000]);
});

test('[PROV-02] a price table that is wrong or missing stops the start', async (t) => {
  const pricesFile = join(tempDir(t), 'prices.yaml');
  const start = () => startTestHost(t, { settings: { 'providers.pricesFile': pricesFile } });
  await assert.rejects(start(), { id: 'config.invalid', message: /pricesFile.*does not exist/ });
  await writeFile(pricesFile, 'prices: none');
  await assert.rejects(start(), { id: 'config.invalid', message: /pricesFile.*schema/ });
});

test('[HOST-07] a cost limit cuts the output that the vendor is asked for, and refuses what has no price', async (t) => {
  const { host, server, client } = await priced(t, { 'turn.maxCost': 0.01 });
  const outcome = async (model: string, maxCost?: { units: bigint; nanos: number }) => {
    const cost = maxCost && { ...maxCost, currencyCode: 'USD' };
    const start = { text: 'hi', model, limits: cost && { maxCost: cost } };
    try {
      return (await eventsOf(client.chat({ start }))).at(-1)?.event.case;
    } catch (reason) {
      return fromConnectError(reason).id;
    }
  };
  assert.equal(await outcome('known'), 'assistantDone');
  const asked = () => JSON.parse(server.asked.at(-1)?.body ?? '').max_tokens;
  const withHostLimit = asked();
  // 15 dollars per million tokens: a cent pays for 666.
  assert.ok(withHostLimit > 300 && withHostLimit <= 666, String(withHostLimit));
  assert.equal(await outcome('known', { units: 0n, nanos: 1_000_000 }), 'assistantDone');
  assert.ok(asked() < withHostLimit / 5);
  assert.equal(await outcome('known', { units: 7n, nanos: 0 }), 'assistantDone');
  assert.equal(asked(), withHostLimit);
  assert.equal(await outcome('known', { units: 0n, nanos: 1000 }), 'budget.cost');
  assert.equal(await outcome('unknown'), 'budget.unpriced');
  assert.equal(server.asked.length, 3);
  assert.deepEqual(
    host.recorder.records.slice(-2).map(({ errorId }) => errorId),
    ['budget.cost', 'budget.unpriced'],
  );
});
