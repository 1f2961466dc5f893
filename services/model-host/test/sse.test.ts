import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '@zerolatency/testing';
import { EventSource } from 'eventsource';
import fc from 'fast-check';
import { browserFetch, type SentEvent, sentEvents, textIn } from './support/event-source.ts';
import { startTestHost, type TestHostOptions } from './support/host.ts';

const RULES = `
- when: { after: results }
  reply: [{ text: { value: ' and now the answer', chunkChars: 3 } }]
- when: { text: wait }
  reply: [{ text: { value: 'let me look', chunkChars: 2 } }, { toolCalls: [{ tool: wait }] }]
- reply: [{ text: { value: 'let me look', chunkChars: 2 } }, { toolCalls: [{ tool: a }] }]
`;
const WHOLE = 'let me look and now the answer';

async function started(t: TestContext, options: TestHostOptions = {}) {
  const release = Promise.withResolvers<object>();
  t.after(() => release.resolve({}));
  const tools = { a: () => ({}), wait: () => release.promise };
  const host = await startTestHost(t, { rules: RULES, tools, ...options });
  const token = await host.issuer.token();
  const get = browserFetch(t, host);
  const authorization = `Bearer ${token}`;
  const chat = (text: string, init: { headers?: Record<string, string>; start?: object } = {}) =>
    get('/v1/chat', {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json', ...init.headers },
      body: JSON.stringify({ start: { text, deviceId: 'd', ...init.start } }),
    });
  const follow = (path: string, headers: Record<string, string> = {}) =>
    get(path, { headers: { authorization, ...headers } });
  return { host, get, authorization, chat, follow, release };
}

const CONTINUE = { start: { onDisconnect: 'ON_DISCONNECT_CONTINUE' } };

function turnOf([first]: readonly SentEvent[]): string {
  return first!.id.slice(0, 32);
}

async function errorIdOf(response: { json(): Promise<unknown> }): Promise<string> {
  return /"id":"([a-z_.]+)"/.exec(JSON.stringify(await response.json()))?.[1] ?? '';
}

test('[HOST-01] a turn over plain HTTP is the events of the contract, over HTTP/2 and HTTP/1.1', async (t) => {
  const { host, authorization } = await started(t);
  for (const allowH2 of [true, false]) {
    const response = await browserFetch(t, host, { allowH2 })('/v1/chat', {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: '{"start":{"text":"hello","deviceId":"d"}}',
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.equal(response.headers.get('cache-control'), 'no-store');
    const events = await sentEvents(response);
    assert.deepEqual(events.pop(), { id: '', type: 'end', data: {} });
    assert.equal(textIn(events), WHOLE);
    for (const { id, type, data } of events) {
      assert.equal(type, 'message');
      assert.equal(id, `${data.turnId}:${data.sequence}`);
    }
    assert.ok(events.at(-1)?.data.assistantDone);
  }
});

test('[HOST-01] curl reads a turn and the error of one that cannot start', async (t) => {
  const { host, authorization } = await started(t);
  const { caFile } = host.tls;
  const curl = async (text: string, version: string) => {
    const options = ['-sN', version, '--cacert', caFile, '-H', `authorization: ${authorization}`];
    const body = ['--json', JSON.stringify({ start: { text, deviceId: 'd' } })];
    const url = `${host.addresses.rpc}/v1/chat`;
    return (await promisify(execFile)('curl', [...options, ...body, url])).stdout;
  };
  for (const version of ['--http2', '--http1.1']) {
    assert.match(
      await curl('hello', version),
      /^retry: \d+\n\nid: [0-9a-f]{32}:1\ndata: {.*\n\nevent: end\n/s,
    );
    assert.match(await curl('', version), /^{"code":"invalid_argument".*start\.text is empty/);
  }
});

test('[HOST-06] a client that lost its stream reads the rest by Last-Event-ID, and starts nothing twice', async (t) => {
  const { host, chat, follow, release } = await started(t);
  const response = await chat('wait', CONTINUE);
  const seen = await sentEvents(response, (events) => events.length >= 2);
  const [turnId, last] = [turnOf(seen), seen.at(-1)!];
  const path = `/v1/turns/${turnId}/events`;
  const rest = await follow(path, { 'last-event-id': last.id });
  // What a client library does that repeats its request.
  const repeated = await chat('wait', { ...CONTINUE, headers: { 'last-event-id': last.id } });
  release.resolve({});
  for (const again of [await sentEvents(rest), await sentEvents(repeated)]) {
    assert.equal(textIn([...seen, ...again]), WHOLE);
    const next = again[0]?.data;
    assert.equal(Number(next?.firstSequence ?? next?.sequence), Number(last.data.sequence) + 1);
    assert.equal(again.at(-1)?.type, 'end');
  }
  assert.equal(textIn(await sentEvents(await follow(path))), WHOLE);
  const done = await follow(path, { 'last-event-id': `${turnId}:999` });
  assert.equal(await errorIdOf(done), 'request.invalid');
  const end = (await sentEvents(await follow(path))).at(-2)!;
  assert.equal((await follow(path, { 'last-event-id': end.id })).status, 204);
  assert.equal(host.recorder.records.length, 1);
});

test('[HOST-06] an EventSource follows a turn with a ticket, which serves once and for that turn', async (t) => {
  const { host, get, authorization, chat, release } = await started(t);
  const seen = await sentEvents(await chat('wait', CONTINUE), (events) => events.length >= 1);
  const turnId = turnOf(seen);
  const post = { method: 'POST', headers: { authorization } };
  const issue = async () => {
    const response = await get(`/v1/turns/${turnId}/ticket`, post);
    return (await response.json()) as { ticket: string; expiresInS: number };
  };
  const { ticket, expiresInS } = await issue();
  assert.ok(expiresInS <= 60);
  const url = `${host.addresses.rpc}/v1/turns/${turnId}/events?ticket=${ticket}&lastEventId=${seen[0]!.id}`;
  const source = new EventSource(url, {
    fetch: (input, init) => get(String(input), { headers: { ...init.headers } }) as never,
  });
  t.after(() => source.close());
  const events: SentEvent[] = [];
  source.addEventListener('message', ({ lastEventId: id, type, data }) =>
    events.push({ id, type, data: JSON.parse(data) }),
  );
  const ended = new Promise<void>((resolve) => {
    source.addEventListener('end', () => {
      source.close();
      resolve();
    });
  });
  release.resolve({});
  await ended;
  assert.equal(textIn([...seen.slice(0, 1), ...events]), WHOLE);
  const at = (id: string, value: string) => get(`/v1/turns/${id}/events?ticket=${value}`);
  const unused = (await issue()).ticket;
  for (const [id, value] of [
    [turnId, ticket],
    [turnId, 'x'.repeat(43)],
    [turnId, ''],
    ['0'.repeat(32), unused],
    [turnId, unused],
  ] as const) {
    const refused = await at(id, value);
    assert.equal(refused.status, 401, value);
    assert.equal(await errorIdOf(refused), 'identity.invalid', value);
  }
});

test('[HOST-11] a turn of another user is not found, and a forged event id is refused', async (t) => {
  const { host, get, chat, follow } = await started(t);
  const turnId = turnOf(await sentEvents(await chat('hello')));
  const path = `/v1/turns/${turnId}/events`;
  const strangers = { user: { user: 'user-2' }, tenant: { tenant: 'south' } };
  for (const [who, claims] of Object.entries(strangers)) {
    const token = await host.issuer.token(claims);
    const stranger = await get(path, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(stranger.status, 404, who);
    assert.equal(await errorIdOf(stranger), 'turn.not_found', who);
  }
  for (const id of ['1', `${turnId}`, `${turnId}:-1`, `${turnId}:1:1`, `${'0'.repeat(32)}:1`]) {
    const forged = await follow(path, { 'last-event-id': id });
    assert.equal(forged.status, 400, id);
    assert.equal(await errorIdOf(forged), 'request.invalid', id);
  }
  assert.equal((await get(path)).status, 401);
  assert.equal((await get(path, { headers: { authorization: 'Bearer x' } })).status, 401);
});

test('[HOST-11] nothing in a body, URL or header other than the token says who the user is', async (t) => {
  const { host, get, authorization } = await started(t);
  const key = fc.constantFrom('tenant', 'user', 'roles', 'identity', 'sub', 'x-tenant', 'x-user');
  await fc.assert(
    fc.asyncProperty(fc.dictionary(key, fc.constantFrom('south', 'root')), async (claims) => {
      const response = await get(`/v1/chat?${new URLSearchParams(claims)}`, {
        method: 'POST',
        headers: { ...claims, authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ ...claims, start: { ...claims, text: 'hello', deviceId: 'd' } }),
      });
      await sentEvents(response);
    }),
    { numRuns: 20, endOnFailure: true },
  );
  assert.ok(host.recorder.records.length > 0);
  for (const { scope } of host.recorder.records) {
    assert.deepEqual(scope.identity, { tenant: 'north', user: 'user-1', roles: ['user'] });
  }
});

test('[HOST-14] what cannot start a turn has its status and error', async (t) => {
  const { get, authorization } = await started(t);
  const json = { authorization, 'content-type': 'application/json' };
  const big = JSON.stringify({ start: { text: 'x'.repeat(3 * 1024 * 1024) } });
  const cases: [string, Record<string, string>, number, string][] = [
    [
      '{"start":{"text":"hello"}}',
      { ...json, 'content-type': 'text/plain' },
      400,
      'request.invalid',
    ],
    ['{"start":', json, 400, 'request.invalid'],
    ['{}', json, 400, 'request.invalid'],
    ['{"start":{"text":"hello","model":"gpt-0"}}', json, 404, 'provider.unknown_model'],
    [big, json, 429, 'request.too_large'],
    ['{}', { 'content-type': 'application/json' }, 401, 'identity.missing'],
  ];
  for (const [body, headers, status, id] of cases) {
    const response = await get('/v1/chat', { method: 'POST', headers, body });
    assert.equal(response.status, status, body.slice(0, 60));
    assert.equal(await errorIdOf(response), id, body.slice(0, 60));
  }
  for (const [method, path] of [
    ['GET', '/v1/chat'],
    ['GET', '/v1/turns/x/events'],
    ['POST', '/v1'],
  ] as const) {
    assert.equal((await get(path, { method, headers: { authorization } })).status, 404, path);
  }
});

test('[HOST-12] streams of browsers count like any other, and so do their tickets', async (t) => {
  const { get, authorization, chat } = await started(t, {
    settings: { 'limits.streamsPerUser': 2 },
  });
  const open = await chat('wait', CONTINUE);
  const turnId = turnOf(await sentEvents(open, (events) => events.length >= 1));
  const ticket = () =>
    get(`/v1/turns/${turnId}/ticket`, { method: 'POST', headers: { authorization } });
  await eventually(async () => (await ticket()).status === 200);
  const refused = await eventually(async () => {
    const response = await ticket();
    return response.status === 200 ? undefined : response;
  });
  assert.equal(refused.status, 429);
  assert.equal(await errorIdOf(refused), 'limit.exceeded');
});

test('[HOST-01] pages of configured origins may use the host, and no others', async (t) => {
  const settings = { 'rpc.cors.origins': ['https://app.example'] };
  const { get, authorization } = await started(t, { settings });
  const preflight = (origin: string, path: string) =>
    get(path, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });
  for (const path of ['/v1/chat', '/zerolatency.agent.v1.AgentService/Chat']) {
    const { status, headers } = await preflight('https://app.example', path);
    assert.equal(status, 204);
    assert.equal(headers.get('access-control-allow-origin'), 'https://app.example');
    assert.match(headers.get('access-control-allow-headers') ?? '', /authorization.*last-event-id/);
    assert.equal(headers.get('access-control-allow-credentials'), null);
  }
  for (const origin of [
    'https://app.example.evil',
    'https://app.example:8443',
    'http://app.example',
    'https://APP.example',
    'null',
    '*',
  ]) {
    const { status, headers } = await preflight(origin, '/v1/chat');
    assert.notEqual(status, 204, origin);
    assert.equal(headers.get('access-control-allow-origin'), null, origin);
    assert.equal(headers.get('vary'), 'origin', origin);
  }
  const answered = async (origin: string, headers: Record<string, string>) => {
    const body = '{"start":{"text":"hello","deviceId":"d"}}';
    const init = { method: 'POST', headers: { origin, ...headers }, body };
    const response = await get('/v1/chat', init);
    await response.body?.cancel();
    return response.headers.get('access-control-allow-origin');
  };
  const json = { authorization, 'content-type': 'application/json' };
  assert.equal(await answered('https://app.example', json), 'https://app.example');
  // A page can tell a bad token from a host that is away.
  assert.equal(await answered('https://app.example', {}), 'https://app.example');
  assert.equal(await answered('https://other.example', json), null);
});
