import assert from 'node:assert/strict';
import { get } from 'node:http';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { type Effects, ServerState } from '@zerolatency/proto/bridge';
import { ListDevicesResponseSchema } from '@zerolatency/proto/relay';
import schema from '../../../contracts/console/overview.schema.json' with { type: 'json' };
import type { ConsoleOverview } from '../../../contracts/gen/overview.d.ts';
import type { RelayView } from '../src/console/overview.ts';
import { policyOf } from './relay/tool-world.ts';
import { startTestHost, type TestHostOptions } from './support/host.ts';
import { eventsOf, only, start } from './support/streams.ts';

const validator = compileSchema<ConsoleOverview>(schema, 'contract');
const OVERVIEW = '/console/overview.json';

async function consoleHost(t: TestContext, options: TestHostOptions = {}) {
  const host = await startTestHost(t, { ...options, settings: { 'admin.console': true } });
  const { admin } = host.addresses;
  const overview = async (query = '') => {
    const answer = await fetch(`${admin}${OVERVIEW}${query}`);
    assert.equal(answer.status, 200);
    const { value, error } = validator.validate(await answer.json());
    assert.equal(error?.message, undefined);
    assert.ok(value);
    return value;
  };
  return { ...host, admin, overview };
}

/** Relays of one device. */
function relayOf(device: { deviceId: string; tools: { name: string; effects?: Effects }[] }) {
  const { deviceId, tools } = device;
  const servers = [{ name: 'fs', version: '1.0.0', state: ServerState.READY, tools }];
  const devices = [{ deviceId, bridgeVersion: '0.1.0', relayId: 'r1', catalog: { servers } }];
  return {
    list: async () => create(ListDevicesResponseSchema, { devices }),
    status: () => ({ links: [{ url: 'wss://relay:1', state: 'live' as const, handles: 1 }] }),
  } satisfies RelayView;
}

test('[CLI-04] without the setting there is no console', async (t) => {
  const { addresses } = await startTestHost(t);
  for (const path of ['/', '/console/console.js', OVERVIEW]) {
    assert.equal((await fetch(addresses.admin + path)).status, 404);
  }
});

test('[CLI-04] the page may load and run only its own files', async (t) => {
  const { admin } = await consoleHost(t);
  const answer = await fetch(admin);
  const policy = answer.headers.get('content-security-policy')?.split('; ') ?? [];
  assert.ok(policy.includes("default-src 'none'"));
  assert.ok(policy.includes("require-trusted-types-for 'script'"));
  assert.ok(policy.every((each) => !/unsafe|https?:|\*/.test(each)));
  const page = await answer.text();
  assert.doesNotMatch(page, /<style|style=|<script[^>]*>[^<]|\son\w+=|https?:/);
  const linked = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.ok(linked.length >= 3);
  for (const path of linked) assert.equal((await fetch(admin + path)).status, 200);
});

/** Node's fetch does not let a caller choose the name. */
async function statusFor(admin: string, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(`${admin}${OVERVIEW}`, { headers: { host } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).on('error', reject);
  });
}

test('[CLI-04] a site that binds its name to this address reads nothing', async (t) => {
  const { admin } = await consoleHost(t);
  assert.equal(await statusFor(admin, 'localhost:9443'), 200);
  assert.equal(await statusFor(admin, '127.0.0.1'), 200);
  assert.equal(await statusFor(admin, '[::1]:80'), 200);
  for (const name of ['evil.example', 'localhost.evil.example:9443', '127.0.0.1.evil.example']) {
    assert.equal(await statusFor(admin, name), 403);
  }
});

test('[CLI-04] only GET is answered', async (t) => {
  const { admin } = await consoleHost(t);
  for (const method of ['POST', 'PUT', 'DELETE']) {
    assert.equal((await fetch(admin + OVERVIEW, { method })).status, 405);
  }
});

test('[CLI-04] tools come with what policy says for the one who is asked about', async (t) => {
  const policy = await policyOf([
    { id: 'devs-read', effect: 'allow', tools: ['fs.read'], roles: ['dev'] },
    { id: 'no-secrets', effect: 'deny', tools: ['fs.read'], paths: SECRETS },
    { id: 'ask', effect: 'escalate', tools: ['fs.send'], approvers: { roles: ['lead'] } },
  ]);
  const tools = [{ name: 'read' }, { name: 'send' }, { name: 'drop' }];
  const relay = relayOf({ deviceId: 'laptop', tools });
  const { overview } = await consoleHost(t, { overview: { policy, relay } });
  const decisions = async (query: string) =>
    (await overview(query)).devices.list[0]?.servers[0]?.tools.map(({ decision }) => [
      ...[decision.effect, decision.ruleId, decision.isByPath],
    ]);
  const rest = [
    ['escalate', 'ask', false],
    ['deny', '', false],
  ];
  assert.deepEqual(await decisions('?tenant=north&user=ann&role=dev'), [
    ['allow', 'devs-read', true],
    ...rest,
  ]);
  assert.deepEqual(await decisions('?tenant=north&user=ann&role=guest'), [
    ['deny', '', true],
    ...rest,
  ]);
});

const SECRETS = { argument: 'path', within: ['/secret'] };

test('[CLI-04] devices that cannot be listed are said to be unknown, and why', async (t) => {
  const list = () => Promise.reject(new ZlError('relay.unreachable', 'no relay answers'));
  const relay = { ...relayOf({ deviceId: 'laptop', tools: [] }), list };
  const { overview } = await consoleHost(t, { overview: { relay } });
  const { devices, policy } = await overview('?tenant=north');
  assert.deepEqual(devices, {
    list: [],
    hasMore: false,
    error: { id: 'relay.unreachable', message: 'no relay answers' },
  });
  assert.equal(policy.state, 'none');
});

test('[CLI-04] a relay that names any number of tools costs a bounded number of decisions', async (t) => {
  const tools = Array.from({ length: 5_000 }, (_, number) => ({ name: `t${number}` }));
  const relay = relayOf({ deviceId: 'd\u202e<b>', tools });
  const { overview } = await consoleHost(t, { overview: { relay } });
  const { devices } = await overview('?tenant=north');
  const [device] = devices.list;
  assert.equal(device?.servers[0]?.tools.length, 499);
  assert.equal(device?.deviceId, 'd<b>');
  assert.ok(devices.hasMore);
});

test('[CLI-04] the overview holds turns and nothing that was said in them', async (t) => {
  const said = 'the words of a person';
  const { overview, client, issuer } = await consoleHost(t, {
    tools: { 'fs.read': () => ({ content: said }) },
  });
  const chat = client('connect', await issuer.token());
  const asked = start({ text: `read the welcome file, ${said}`, sessionId: 's1' });
  await eventsOf(chat.streamChat(only(asked)));
  const seen = await overview();
  const [turn] = seen.turns;
  assert.deepEqual([turn?.outcome, turn?.sessionId, turn?.isRecorded], ['done', 's1', true]);
  assert.deepEqual(seen.subject, seen.subjects[0]);
  assert.doesNotMatch(JSON.stringify(seen), new RegExp(said));
});
