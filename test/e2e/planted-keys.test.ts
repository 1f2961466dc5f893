import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually, OtlpCollector, tempDir } from '@zerolatency/testing';
import { chatTarget } from '../../services/cli/src/commands/chat.ts';
import { vaultServer } from '../../services/model-host/test/support/vault-server.ts';
import {
  type Answer,
  answerOf,
  sendsEvents,
  vendorServer,
} from '../../services/model-host/test/vendors/vendor-server.ts';
import { curlStream } from './curl.ts';
import { configOf, editConfig } from './effects.ts';
import { mainOf, type System, startSystem } from './system.ts';

/** One key for each way in which a host comes by a key; `/` and `+` change when they are encoded. */
const KEYS = {
  env: 'sk-planted-env/+Qx71f0c2a9b4',
  file: 'sk-planted-file/+Rk82e1d3b0c5',
  vault: 'sk-planted-vault/+Sm93d2e4c1d6',
  tenant: 'sk-planted-tenant/+Tn04c3f5d2e7',
} as const;

type Source = keyof typeof KEYS;
const SOURCES = ['env', 'file', 'vault', 'tenant'] as const satisfies readonly Source[];

/** Repeats the key plainly and encoded, where a careless vendor might: in body, headers and status text. */
function echoes(status: number): Answer {
  return (response, request) => {
    const key = String(request.headers['x-api-key']);
    const message = encodingsOf(key).join(' ');
    const type = 'some_error';
    send(response, status, {
      key,
      body: JSON.stringify({ type: 'error', error: { type, message } }),
    });
  };
}

/** Begins well and then repeats the key where an event should be. */
const breaksOff: Answer = (response, request) => {
  const key = String(request.headers['x-api-key']);
  const body = `${answerOf('anthropic').slice(0, 400)}\n\nevent: error\ndata: ${encodingsOf(key).join(' ')}\n\n`;
  send(response, 200, { key, body, type: 'text/event-stream' });
};

function send(
  response: ServerResponse,
  status: number,
  { key, body, type = 'application/json' }: { key: string; body: string; type?: string },
): void {
  const headers = { 'content-type': type, 'x-your-key': key, 'www-authenticate': `Bearer ${key}` };
  response.writeHead(status, `no ${key}`, headers).end(body);
}

const ANSWERS: readonly Answer[] = [
  sendsEvents(answerOf('anthropic')),
  echoes(401),
  echoes(429),
  echoes(500),
  breaksOff,
];

/** As a vendor may repeat a key, by itself or as the password of a user. */
function encodingsOf(key: string): readonly string[] {
  return [key, `u:${key}`, `me:${key}`].flatMap((text) => [
    text,
    encodeURIComponent(text),
    ...(['base64', 'base64url', 'hex'] as const).map((form) => Buffer.from(text).toString(form)),
  ]);
}

/** What reveals a secret: itself, and every base64 text that holds it, whatever comes before it. */
function formsOf(secret: string): readonly string[] {
  const shifted = [0, 1, 2].map((offset) => {
    const text = Buffer.from(`${'x'.repeat(offset)}${secret}`).toString('base64');
    return text.slice(4, -4);
  });
  const urlSafe = shifted.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  const hex = Buffer.from(secret).toString('hex');
  return [...new Set([secret, encodeURIComponent(secret), hex, ...shifted, ...urlSafe])];
}

test('[PROV-04] [RED-01] no planted key is in anything that a run leaves behind', {
  timeout: 300_000,
}, async (t) => {
  const collector = await OtlpCollector.start(t);
  Object.assign(process.env, collector.env, {
    OTEL_METRIC_EXPORT_INTERVAL: '1000',
    PLANTED_KEY: KEYS.env,
  });
  const vault = await vaultServer(t);
  vault.secrets.set('secret/claude', { key: KEYS.vault });
  const vendor = await vendorServer(t, echoes(500));
  const system = await startSystem(t, {
    prepare: (layout) => plant(t, layout.host.config, { vendor, vault }),
  });
  const { layout, settings } = system;
  const { token, deviceId } = await chatTarget(settings, {});
  const told: unknown[] = [];
  for (const answer of ANSWERS) {
    vendor.answer = answer;
    for (const model of SOURCES) {
      const url = `${settings.host.url}/zerolatency.agent.v1.AgentService/Chat`;
      const body = { start: { text: 'hi', deviceId, model } };
      told.push(await curlStream(layout, { url, token, body }));
    }
  }
  const keysSent = new Set(vendor.asked.map(({ headers }) => headers['x-api-key']));
  assert.deepEqual([...keysSent].sort(), Object.values(KEYS).sort());

  const vaultToken = readFileSync(vault.tokenFile, 'utf8').trim();
  const turns = ANSWERS.length * SOURCES.length;
  await eventually(() => collector.spans.filter(({ name }) => name === 'turn').length >= turns);
  const places = {
    events: JSON.stringify(told),
    telemetry: collector.received,
    ...(await programOutputs(system)),
    ...filesIn(layout.home),
  };
  // Vendors' messages were quoted, so the places are those where keys would be.
  assert.ok(Object.values(places).some((text) => text.includes('[masked:key]')));
  assert.match(places.events, /Done\./);
  const found = Object.entries(places).flatMap(([place, text]) =>
    [...Object.values(KEYS), vaultToken]
      .filter((secret) => formsOf(secret).some((form) => text.includes(form)))
      .map((secret) => `${place}: ${secret}`),
  );
  assert.deepEqual(found, []);
});

/** The shared keys of three providers and the own key of the one tenant for a fourth. */
async function plant(
  t: TestContext,
  config: string,
  {
    vendor,
    vault,
  }: {
    vendor: Awaited<ReturnType<typeof vendorServer>>;
    vault: Awaited<ReturnType<typeof vaultServer>>;
  },
): Promise<void> {
  const dir = tempDir(t);
  const keyFile = join(dir, 'key');
  writeFileSync(keyFile, `${KEYS.file}\n`);
  const ownKeyFile = join(dir, 'own-key');
  writeFileSync(ownKeyFile, KEYS.tenant);
  const tenantKeysFile = join(dir, 'tenant-keys.json');
  const local = { keys: { tenant: { file: ownKeyFile } }, otherProviders: 'shared' };
  writeFileSync(
    tenantKeysFile,
    JSON.stringify({ schema: 'zerolatency.tenant-keys/v1', tenants: { local } }),
  );
  const references: Readonly<Record<Source, object>> = {
    env: { env: 'PLANTED_KEY' },
    file: { file: keyFile },
    vault: { vault: 'secret/claude#key' },
    tenant: { env: 'PLANTED_KEY' },
  };
  const { url, caFile, tokenFile } = vault;
  const { models, providers } = await configOf(config);
  const aliases = SOURCES.map((name) => [name, { provider: name, model: 'claude-sonnet-4-5' }]);
  const vendors = SOURCES.map((name) => [
    name,
    { type: 'anthropic', baseUrl: vendor.url, key: references[name] },
  ]);
  await editConfig(config, {
    log: { level: 'trace' },
    secrets: { vault: { url, caFile, auth: { tokenFile }, timeout: '30s' } },
    models: { ...models, default: 'env', aliases: Object.fromEntries(aliases) },
    providers: {
      ...providers,
      tenantKeysFile,
      retries: { rounds: 0 },
      vendors: Object.fromEntries(vendors),
    },
  });
}

async function programOutputs(system: System): Promise<Record<string, string>> {
  const { layout, settings, zl } = system;
  const admin = ['/metrics', '/health', '/readyz', '/checkpoint', '/console/overview.json'];
  const pages = admin.map(async (path) => {
    const response = await fetch(`${settings.host.adminUrl}${path}`);
    return [path, await response.text()] as const;
  });
  const commands = [
    ['status', '--json'],
    ['logs'],
    ['why', 'last'],
    ['audit', 'show'],
    ['doctor'],
  ].map(async (args) => {
    const { stdout, stderr } = await zl(...args);
    return [`zl ${args.join(' ')}`, stdout + stderr] as const;
  });
  const printed = execFileSync(
    process.execPath,
    [mainOf('model-host'), '--config', layout.host.config, '--print-config'],
    { encoding: 'utf8' },
  );
  const outputs = await Promise.all([...pages, ...commands]);
  return { ...Object.fromEntries(outputs), '--print-config': printed };
}

/** Every file of the installation: logs, ledger, configuration. */
function filesIn(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  return Object.fromEntries(paths.map((path) => [path, readFileSync(path, 'latin1')]));
}
