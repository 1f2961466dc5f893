import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually, tempDir } from '@zerolatency/testing';
import { startTestHost } from '../support/host.ts';
import { eventsOf, textOf } from '../support/streams.ts';
import { vaultServer } from '../support/vault-server.ts';
import {
  type Answer,
  answerOf,
  MODELS,
  sendsError,
  sendsEvents,
  vendorServer,
} from './vendor-server.ts';

const done = sendsEvents(answerOf('anthropic'));

/** Answers those keys and refuses all others. */
function accepting(...keys: readonly string[]): Answer {
  return (response, request) => {
    const answer = keys.includes(String(request.headers['x-api-key'])) ? done : sendsError(401);
    answer(response, request);
  };
}

async function world(
  t: TestContext,
  { answer = done, tenantKeys = '' }: { answer?: Answer; tenantKeys?: string },
) {
  const dir = tempDir(t);
  const keyFile = join(dir, 'shared-key');
  const tenantKeysFile = join(dir, 'tenant-keys.yaml');
  await writeFile(keyFile, 'sk-shared\n');
  const table = (tenants: string) =>
    writeFile(tenantKeysFile, `schema: zerolatency.tenant-keys/v1\ntenants: {${tenants}}`);
  await table(tenantKeys);
  const vendor = await vendorServer(t, answer);
  const vault = await vaultServer(t);
  const { url, caFile, tokenFile } = vault;
  const host = await startTestHost(t, {
    env: { SOUTH_KEY: 'sk-south' },
    settings: {
      'models.default': 'main',
      'models.aliases': {
        main: { provider: 'claude', model: MODELS.anthropic },
        open: { provider: 'open', model: 'm' },
      },
      'secrets.vault': { url, caFile, timeout: '30s', auth: { tokenFile } },
      'providers.tenantKeysFile': tenantKeysFile,
      'providers.vendors': {
        claude: { type: 'anthropic', baseUrl: vendor.url, key: { file: keyFile } },
        open: { type: 'openai-compatible', baseUrl: vendor.url },
      },
    },
  });
  const ask = async (tenant = 'north', model = '') => {
    const client = host.client('connect', await host.issuer.token({ tenant }));
    try {
      const events = await eventsOf(client.chat({ start: { text: 'hi', model } }));
      return textOf(events) || events.map(({ event }) => Reflect.get(event.value ?? {}, 'id'));
    } catch (reason) {
      return fromConnectError(reason).id;
    }
  };
  const keysAsked = () => vendor.asked.map(({ headers }) => headers['x-api-key']);
  return { host, vendor, vault, keyFile, table, ask, keysAsked };
}

async function idOf(asked: Promise<unknown>): Promise<string> {
  return String(await asked);
}

test('[PROV-04] a refused key is read again, and the request repeated once if it has changed', async (t) => {
  const { vendor, vault, table, ask, keysAsked } = await world(t, {
    answer: accepting('sk-vault-2'),
    tenantKeys: "north: { keys: { claude: { vault: 'secret/north/claude#key' } } }",
  });
  vault.secrets.set('secret/north/claude', { key: 'sk-vault-1' });
  assert.match(await idOf(ask()), /provider.unauthorized/);
  vault.secrets.set('secret/north/claude', { key: 'sk-vault-2' });
  await eventually(async () => (await ask()) === 'Done.');
  const asked = keysAsked();
  assert.deepEqual(asked.slice(-2), ['sk-vault-1', 'sk-vault-2']);
  assert.ok(vendor.asked.every(({ headers }) => !('x-zerolatency-account' in headers)));
  await table('');
});

test("[PROV-04] a tenant with keys of its own never uses the host's, and tables change live", async (t) => {
  const { table, ask, keysAsked } = await world(t, {
    tenantKeys: 'south: { keys: { claude: { env: SOUTH_KEY } } }, west: { keys: {} }',
  });
  assert.equal(await ask('north'), 'Done.');
  assert.equal(await ask('south'), 'Done.');
  assert.match(await idOf(ask('west')), /provider.no_key/);
  assert.deepEqual(keysAsked(), ['sk-shared', 'sk-south']);
  // What needs no key is everybody's.
  assert.equal(typeof (await ask('west', 'open')), 'string');
  await table('west: { keys: {}, otherProviders: shared }, south: { keys: {} }');
  await eventually(async () => (await ask('west')) === 'Done.');
  assert.match(await idOf(ask('south')), /provider.no_key/);
  assert.ok(!keysAsked().includes('sk-north'));
});

test("[PROV-04] [PROV-03] a tenant's account that is refused keeps nobody else from the provider", async (t) => {
  const { ask } = await world(t, {
    answer: accepting('sk-shared'),
    tenantKeys: 'south: { keys: { claude: { env: SOUTH_KEY } } }, west: { keys: {} }',
  });
  for (let turn = 0; turn < 6; turn++) {
    assert.match(await idOf(ask('south')), /provider.unauthorized/);
    assert.match(await idOf(ask('west')), /provider.no_key/);
  }
  assert.equal(await ask('north'), 'Done.');
});

test('[PROV-04] a key that cannot be used is named to operators only, and heals with its file', async (t) => {
  const { host, keyFile, ask, keysAsked } = await world(t, {});
  const broken: readonly [() => Promise<void>, RegExp][] = [
    [() => rm(keyFile), /cannot be read/],
    [() => writeFile(keyFile, ''), /missing or empty/],
    [() => writeFile(keyFile, 'x'.repeat(10_000_000)), /larger than/],
    [() => writeFile(keyFile, 'sk-planted-line\nsk-planted-second'), /one line of printable ASCII/],
  ];
  for (const [breakIt, why] of broken) {
    await breakIt();
    const { length } = host.logs;
    assert.match(await idOf(ask()), /provider.no_key/);
    const lines = host.logs.slice(length).filter(({ msg }) => msg === 'a key cannot be read');
    assert.equal(lines.length, 1);
    assert.match(String(lines[0]?.why), why);
    assert.doesNotMatch(JSON.stringify(host.logs), /sk-planted/);
  }
  const report = await (await fetch(`${host.addresses.admin}/health`)).text();
  assert.match(report, /1 keys cannot be read/);
  await writeFile(keyFile, 'sk-mended');
  assert.equal(await ask(), 'Done.');
  assert.deepEqual(keysAsked(), ['sk-mended']);
});

test('[PROV-04] a key that changes during a reply does not cut the reply', async (t) => {
  const { vendor, keyFile, ask, keysAsked } = await world(t, {});
  const text = answerOf('anthropic');
  const sent = Promise.withResolvers<void>();
  const changed = Promise.withResolvers<void>();
  vendor.answer = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(text.slice(0, 200));
    sent.resolve();
    void changed.promise.then(() => response.end(text.slice(200)));
  };
  const asked = ask();
  await sent.promise;
  await writeFile(keyFile, 'sk-next');
  vendor.answer = done;
  assert.equal(await ask(), 'Done.');
  changed.resolve();
  assert.equal(await asked, 'Done.');
  assert.deepEqual(keysAsked(), ['sk-shared', 'sk-next']);
});

test('[PROV-04] keys in a Vault that is not configured, or that has no such key, stop the start', async (t) => {
  const vault = await vaultServer(t);
  const start = (settings: object) =>
    startTestHost(t, {
      settings: {
        'providers.vendors': {
          claude: { type: 'anthropic', key: { vault: 'secret/claude#key' } },
        },
        ...settings,
      },
    });
  await assert.rejects(start({}), { id: 'config.invalid', message: /secrets.vault is missing/ });
  const { url, caFile, tokenFile } = vault;
  const settings = { 'secrets.vault': { url, caFile, auth: { tokenFile } } };
  await assert.rejects(start(settings), { id: 'config.invalid', message: /answered 404/ });
});
