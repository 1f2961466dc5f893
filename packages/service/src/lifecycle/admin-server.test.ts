import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import type { ComponentCheck } from './admin-server.ts';
import { serveAdmin } from './admin-server.ts';
import { Lifecycle } from './lifecycle.ts';

const ENDLESS_MS = 1_000_000;

interface Options {
  components?: Record<string, ComponentCheck>;
  metrics?: () => Promise<string>;
}

async function admin(context: TestContext, options: Options = {}) {
  const lifecycle = new Lifecycle();
  const logged: object[] = [];
  const { metrics = async () => 'zl_build_info 1\n', ...rest } = options;
  const server = await serveAdmin({
    port: 0,
    lifecycle,
    registry: { contentType: 'text/plain; version=0.0.4', metrics },
    service: 'model-host',
    version: '0.1.0',
    configDigest: 'sha256:00',
    checkTimeoutMs: 20,
    log: { error: (fields) => logged.push(fields) },
    ...rest,
  });
  context.after(() => server.close());
  return {
    lifecycle,
    server,
    logged,
    get: (path: string, init?: RequestInit) => fetch(`${server.url}${path}`, init),
  };
}

test('[HOST-13] probes distinguish starting, ready and draining', async (context) => {
  const site = await admin(context);
  const { lifecycle, get } = site;
  const statuses = async () => {
    const answers = await Promise.all(['/livez', '/startupz', '/readyz'].map((path) => get(path)));
    return answers.map(({ status }) => status);
  };
  assert.deepEqual(await statuses(), [200, 503, 503]);
  lifecycle.markReady();
  assert.deepEqual(await statuses(), [200, 200, 200]);
  const hold = Promise.withResolvers<void>();
  lifecycle.onDrain('held', () => hold.promise);
  const stopped = lifecycle.shutdown({ reason: 'test', deadlineMs: ENDLESS_MS });
  assert.deepEqual(await statuses(), [200, 200, 503]);
  hold.resolve();
  await stopped;
});

test('[HOST-13] readiness says why not', async (context) => {
  const { get, lifecycle } = await admin(context);
  const ready = async (): Promise<unknown> => (await get('/readyz')).json();
  assert.deepEqual(await ready(), { ready: false, reasons: ['state is starting'] });
  lifecycle.markReady();
  assert.deepEqual(await ready(), { ready: true, reasons: [] });
});

test('[HOST-13] the report covers every component and the configuration', async (context) => {
  const site = await admin(context, {
    components: {
      ledger: async () => ({ status: 'ok', version: '1' }),
      relay: () => Promise.reject(new ZlError('relay.unreachable', 'no relay answers')),
      provider: async () => ({ status: 'degraded', detail: 'breaker half open' }),
      silent: () => new Promise(() => {}),
    },
  });
  site.lifecycle.markReady();
  const response = await site.get('/health');
  assert.equal(response.status, 200);
  const report: unknown = JSON.parse(await response.text(), (name, value: unknown) =>
    name === 'latencyMs' ? typeof value : value,
  );
  assert.deepEqual(report, {
    service: 'model-host',
    version: '0.1.0',
    state: 'ready',
    status: 'down',
    configDigest: 'sha256:00',
    components: [
      { name: 'ledger', status: 'ok', version: '1', latencyMs: 'number' },
      {
        name: 'relay',
        status: 'down',
        latencyMs: 'number',
        error: { id: 'relay.unreachable', message: 'no relay answers' },
      },
      { name: 'provider', status: 'degraded', detail: 'breaker half open', latencyMs: 'number' },
      { name: 'silent', status: 'down', detail: 'no answer within 20 ms', latencyMs: 'number' },
    ],
  });
});

test('[OBS-02] metrics are served as the registry prints them', async (context) => {
  const site = await admin(context);
  const response = await site.get('/metrics?x=1');
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4');
  assert.equal(await response.text(), 'zl_build_info 1\n');
});

test('a registry that fails is logged and answered with 500, and the server lives', async (context) => {
  const err = new Error('secret');
  const site = await admin(context, { metrics: () => Promise.reject(err) });
  const response = await site.get('/metrics');
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret/);
  assert.deepEqual(site.logged, [{ err, path: '/metrics' }]);
  assert.equal((await site.get('/livez')).status, 200);
});

test('only GET and only known paths are answered', async (context) => {
  const site = await admin(context);
  assert.equal((await site.get('/')).status, 404);
  assert.equal((await site.get('/metrics/x')).status, 404);
  assert.equal((await site.get('/livez', { method: 'POST', body: 'x' })).status, 405);
  assert.equal((await site.get('/livez', { method: 'HEAD' })).status, 405);
  const huge = await site.get('/livez', { headers: { 'x-huge': 'x'.repeat(10_000) } });
  assert.equal(huge.status, 431);
});

test('closing cuts connections that are open and idle, and may be asked twice', async (context) => {
  const { server } = await admin(context);
  const socket = connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  socket.resume();
  await server.close();
  await closed;
  await server.close();
});
