import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Installed, installed } from '../../test/installed.ts';

/** Answers every request with the same text, as an admin listener of a service does. */
async function serveAdmin(t: TestContext, text: string): Promise<string> {
  const server = createHttpServer((_, response) => response.end(text));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closing(server));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function serveControl(t: TestContext, { layout }: Installed, text: string) {
  const path = layout.device.controlSocket;
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  const server = createServer((socket) => socket.end(text));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => closing(server));
  return () => closing(server);
}

/** Where something listened a moment ago. */
async function nowhere(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await closing(server);
  return `http://127.0.0.1:${port}`;
}

async function closing(server: Server): Promise<void> {
  if ('closeAllConnections' in server)
    (server as ReturnType<typeof createHttpServer>).closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

const bridge = (state: string, server: string, more: object = {}) =>
  JSON.stringify({
    version: '0.9.0',
    state,
    servers: [{ name: 'fs', state: server }],
    policy: { state: 'active' },
    manifest: { state: 'active', manifestId: 'local@1' },
    ...more,
  });

const report = (status: string, more: object = {}) =>
  JSON.stringify({ service: 'x', version: '1.2.3', status, ...more });

test('reports a healthy system with all its addresses', async (t) => {
  const made = await installed(t);
  const host = await serveAdmin(t, report('ok'));
  const relay = await serveAdmin(t, report('ok'));
  await serveControl(t, made, bridge('live', 'ready'));
  const registrar = await serveAdmin(t, report('ok'));
  const addresses = { relay: { adminUrl: relay }, registrar: { adminUrl: registrar } };
  await made.point({ host: { adminUrl: host }, ...addresses });
  const plain = await made.zl(['status']);
  assert.equal(plain.status, 0, plain.stdout);
  assert.deepEqual(
    plain.stdout.split('\n').map((line) =>
      line
        .split(/ +/)
        .slice(0, 3)
        .join(' ')
        .replace(/:\d+:$/, ''),
    ),
    [
      ...['ok model-host 1.2.3', 'ok tool-relay 1.2.3', 'ok registrar 1.2.3'],
      ...['ok device-bridge 0.9.0', ''],
      ...['devices unknown: https://localhost', ''],
    ],
  );
  const { components } = JSON.parse((await made.zl(['status', '--json'])).stdout);
  assert.deepEqual(
    components.map(({ name, version, health }: Record<string, string>) => [name, version, health]),
    [
      ['model-host', '1.2.3', 'ok'],
      ['tool-relay', '1.2.3', 'ok'],
      ['registrar', '1.2.3', 'ok'],
      ['device-bridge', '0.9.0', 'ok'],
    ],
  );
  assert.deepEqual(components[0].addresses.metrics, `${host}/metrics`);
  assert.match(components[0].addresses.rpc, /^https:\/\/localhost:\d+$/);
  assert.equal(components[0].addresses.caFile, made.layout.authority.cert);
  assert.deepEqual(components[3].addresses, { status: made.layout.device.controlSocket });
});

test('[HOST-13] shows what expires, and when', async (t) => {
  const made = await installed(t);
  const inDays = (days: number) => new Date(Date.now() + (days + 0.5) * 86_400_000).toISOString();
  const components = [
    { name: 'certificate', status: 'ok', expiresAt: inDays(20) },
    { name: 'policy', status: 'ok', expiresAt: inDays(-1) },
  ];
  const host = await serveAdmin(t, report('ok', { components }));
  const policy = { state: 'active', policyId: 'local@1', expiresAt: inDays(13) };
  const credential = { expiresAt: inDays(1) };
  await serveControl(t, made, bridge('live', 'ready', { credential, policy }));
  await made.point({ host: { adminUrl: host }, relay: { adminUrl: await nowhere() } });
  const { stdout } = await made.zl(['status']);
  assert.match(stdout, /model-host .*\n {9}expires: certificate in 20 days, policy has expired\n/);
  assert.match(stdout, /device-bridge .*\n {9}expires: credential in 1 day, policy in 13 days\n/);
});

test('a missing component is down, a faulty one says why, and the exit status is 1', async (t) => {
  const made = await installed(t);
  const error = { id: 'relay.unreachable', message: 'no relay answers' };
  const components = [
    { name: 'ledger', status: 'ok' },
    { name: 'relay', status: 'down', error },
  ];
  const host = await serveAdmin(t, report('down', { components }));
  await made.point({ host: { adminUrl: host }, relay: { adminUrl: await nowhere() } });
  const { status, stdout } = await made.zl(['status']);
  assert.equal(status, 1);
  assert.match(stdout, /^degraded model-host .*\n {9}relay is down: no relay answers\n/);
  assert.match(stdout, /^down {5}tool-relay .*\n {9}ECONNREFUSED\n/m);
  assert.match(stdout, /^down {5}device-bridge .*\n {9}ENOENT\n/m);
});

test('a bridge is healthy when it is live, has policy and manifest and all its servers are ready', async (t) => {
  const made = await installed(t);
  for (const [report, health, why] of [
    [bridge('live', 'starting'), 'degraded', 'fs is starting'],
    [bridge('lost', 'ready', { why: 'no relay answers' }), 'degraded', 'lost: no relay answers'],
    [bridge('live', 'ready', { policy: { state: 'none' } }), 'degraded', 'policy is none'],
    [
      bridge('live', 'ready', { manifest: { state: 'none', why: 'signed by 0 known keys' } }),
      'degraded',
      'manifest is none: signed by 0 known keys',
    ],
    [
      bridge('live', 'ready', { policy: { state: 'active', why: 'it is a FIFO' } }),
      'degraded',
      'policy is active: it is a FIFO',
    ],
    [
      bridge('live', 'ready', { journal: { state: 'failing', why: 'the disk is full' } }),
      'degraded',
      'journal is failing: the disk is full',
    ],
    [bridge('live', 'ready', { journal: { running: 1 } }), 'ok', ''],
    [
      bridge('live', 'ready', { credential: { why: 'renewal failed: the relay is silent' } }),
      'degraded',
      'credential is expiring: renewal failed: the relay is silent',
    ],
    [bridge('live', 'ready'), 'ok', ''],
  ] as const) {
    const close = await serveControl(t, made, report);
    const line = new RegExp(`^${health} +device-bridge.*\\n *${why}$`, 'm');
    assert.match((await made.zl(['status'])).stdout, line);
    await close();
  }
});

test('[BRG-02] a server without a sandbox, or with unpinned code, is named while all is well', async (t) => {
  const made = await installed(t);
  const adminUrl = await serveAdmin(t, report('ok'));
  await made.point({ host: { adminUrl }, relay: { adminUrl } });
  const servers = [
    { name: 'fs', state: 'ready', containment: 'sandbox' },
    { name: 'mail', state: 'ready', containment: 'process group', unpinned: true },
    { name: 'web', state: 'starting', unpinned: true },
    {
      ...{ name: 'tickets', state: 'ready', containment: 'cgroup' },
      denied: [{ tool: 'close', ruleId: 'effects' }],
    },
  ];
  await serveControl(t, made, bridge('live', 'ready', { servers }));
  const { stdout } = await made.zl(['status']);
  assert.match(
    stdout,
    /^ +mail runs without a sandbox \(process group\) and code that is not pinned; web runs code that is not pinned; tickets runs without a sandbox \(cgroup\), so rule effects denies 1 of its tools$/m,
  );
});

test('an invalid or endless report means down; escape sequences in one have no effect', async (t) => {
  const made = await installed(t);
  const host = await serveAdmin(t, '[1]');
  const relay = await serveAdmin(t, 'x'.repeat(2 * 1024 * 1024));
  await serveControl(t, made, JSON.stringify({ version: '\u001b[2J\u009b1', state: 'idle' }));
  await made.point({ host: { adminUrl: host }, relay: { adminUrl: relay } });
  const { status, stdout } = await made.zl(['status']);
  assert.equal(status, 1);
  assert.match(stdout, /^down {5}model-host .*\n {9}the answer is not a report\n/);
  assert.match(stdout, /^down {5}tool-relay .*\n {9}the answer is too long for a report\n/m);
  assert.match(stdout, /^degraded device-bridge/m);
  assert.doesNotMatch(stdout, /[^\P{Cc}\n]/u);
});
