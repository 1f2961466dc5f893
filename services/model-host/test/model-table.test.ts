import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually, tempDir } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import { eventsOf } from './support/streams.ts';
import { sendsError, vendorServer } from './vendors/vendor-server.ts';

const MOCK = 'provider: mock, model: scripted';

function table(aliases: string): string {
  return `default: main\naliases:\n  main: { ${MOCK} }\n${aliases}`;
}

async function tabled(t: TestContext, text: string) {
  const tableFile = join(tempDir(t), 'models.yaml');
  await writeFile(tableFile, text);
  const down = await vendorServer(t, sendsError(503));
  const host = await startTestHost(t, {
    settings: {
      'models.tableFile': tableFile,
      'providers.vendors': { down: { type: 'openai-compatible', baseUrl: down.url } },
      'providers.retries': { rounds: 0 },
    },
  });
  const clientOf = async (tenant: string) =>
    host.client('connect', await host.issuer.token({ tenant }));
  const ask = async (model: string, tenant = 'acme') =>
    eventsOf((await clientOf(tenant)).chat({ start: { text: 'hi', model } }));
  const metrics = async () => (await fetch(`${host.addresses.admin}/metrics`)).text();
  const component = async (name: string) => {
    const health = await (await fetch(`${host.addresses.admin}/health`)).text();
    return JSON.parse(health).components.find((each: { name: string }) => each.name === name);
  };
  return { host, tableFile, ask, metrics, component };
}

async function failureOf(asked: Promise<unknown>): Promise<string> {
  return asked.then(
    () => 'none',
    (reason) => String(reason),
  );
}

test('[PROV-05] a model table reloads live, and one that is wrong or gone changes nothing', async (t) => {
  const { tableFile, ask, metrics, component } = await tabled(t, table(''));
  assert.match(await failureOf(ask('extra')), /no model alias "extra"/);
  await writeFile(tableFile, table(`  extra: { ${MOCK} }\n`));
  await eventually(async () => (await component('models')).choices.includes('extra'));
  assert.equal((await ask('extra')).at(-1)?.event.case, 'assistantDone');

  await writeFile(tableFile, table('  extra: { provider: nobody, model: m }\n'));
  await eventually(async () => (await component('models')).status === 'degraded');
  assert.match((await component('models')).detail, /extra\.provider names "nobody"/);
  assert.equal((await ask('extra')).at(-1)?.event.case, 'assistantDone');
  await writeFile(tableFile, table('  extra: { provder: mock }\n'));
  await eventually(async () =>
    /line:4: aliases\.extra\.provder/.test((await component('models')).detail),
  );
  await rm(tableFile);
  await eventually(async () => /does not exist/.test((await component('models')).detail));
  assert.equal((await ask('extra')).at(-1)?.event.case, 'assistantDone');
  assert.match(await metrics(), /^zl_host_model_tables_read_total\{[^}]*"refused"[^}]*\} [1-9]/m);

  await writeFile(
    tableFile,
    table(`tenants:\n  acme: { default: own, aliases: { own: { ${MOCK} } } }\n`),
  );
  await eventually(async () => (await component('models')).status === 'ok');
  assert.equal((await ask('own')).at(-1)?.event.case, 'assistantDone');
  assert.match(await failureOf(ask('own', 'another')), /no model alias "own"/);
});

test('[PROV-05] a host does not start with a table that is wrong or missing', async (t) => {
  await assert.rejects(tabled(t, 'default: main\naliases: {}\n'), /models\.default names "main"/);
  await assert.rejects(
    tabled(t, 'aliases: {}\n'),
    /models\.tableFile: .*models\.yaml: .*default is missing/,
  );
  const settings = { 'models.tableFile': join(tempDir(t), 'absent.yaml') };
  await assert.rejects(startTestHost(t, { settings }), /models\.tableFile: .*absent\.yaml/);
});

test('[PROV-03] [OBS-02] metrics and the component report show the breaker of a vendor that is down', async (t) => {
  const { host, ask, metrics, component } = await tabled(
    t,
    table(`  both: { targets: [{ provider: down, model: m1 }, { ${MOCK} }] }
  alone: { provider: down, model: m1 }\n`),
  );
  assert.equal((await component('providers')).status, 'ok');
  for (let turn = 0; turn < 8; turn += 1) {
    assert.equal((await ask('both')).at(-1)?.event.case, 'assistantDone');
  }
  assert.match(await failureOf(ask('alone')), /every target of the alias "alone" keeps failing/);
  const { status, detail } = await component('providers');
  assert.deepEqual([status, detail], ['degraded', 'keep failing: down/m1 (open)']);
  const exported = await metrics();
  const down = 'provider="down",provider_model="m1"';
  for (const line of [
    `zl_host_provider_breaker_state{${down}} 2`,
    'zl_host_provider_breaker_state{provider="mock",provider_model="scripted"} 0',
    `zl_host_provider_requests_total{model="both",${down},outcome="failed",error_id="provider.failed"} 5`,
    'zl_host_provider_fallbacks_total{model="both",to="other",error_id="provider.failed"} 5',
  ]) {
    assert.ok(exported.replaceAll(',service="model-host"', '').includes(line), line);
  }
  const repeated = host.logs.filter(({ msg }) => msg === 'a request to a model is repeated');
  assert.equal(repeated.length, 5);
  const ended = host.logs.find(({ msg }) => msg === 'turn ended');
  assert.deepEqual([ended?.provider, ended?.model], ['mock', 'scripted']);
});
