import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Behaviour, fixtureServer } from '@zerolatency/mcp/testing';
import type { ManifestServer } from '@zerolatency/policy';
import { type Catalog, ServerState } from '@zerolatency/proto/bridge';
import { eventually, tempDir } from '@zerolatency/testing';
import { fixtureSpec, manifestOf, sha256Of } from '../../test/manifests.ts';
import type { ManagedServer } from './managed-server.ts';
import { Supervisor } from './supervisor.ts';

const quiet = { debug() {}, info() {}, warn() {} };

function supervise(t: TestContext, specs: readonly ManifestServer[]) {
  const catalogs: Catalog[] = [];
  const restarts: string[] = [];
  const supervisor = new Supervisor(manifestOf(specs), {
    environment: { ALLOWED: 'yes', SECRET: 'no' },
    version: '0.1.0',
    backoff: { minMs: 5, maxMs: 50 },
    leftovers: { started() {}, ended() {} },
    log: quiet,
    onCatalog: (catalog) => catalogs.push(catalog),
    onRestart: (server) => restarts.push(server),
  });
  supervisor.start();
  t.after(() => supervisor.stop());
  return { supervisor, catalogs, restarts };
}

function only(t: TestContext, behaviour: Behaviour, more: Partial<ManifestServer> = {}) {
  const all = supervise(t, [fixtureSpec(behaviour, more)]);
  const server = all.supervisor.find(behaviour)!;
  return { ...all, server };
}

const ready = (server: ManagedServer) =>
  eventually(() => (server.state.name === 'ready' ? server.state : undefined));

const call = async (server: ManagedServer, timeoutMs = 10_000) => {
  const { session } = await ready(server);
  return session.call('tools/call', { name: 'echo' }, { timeoutMs });
};

test('[BRG-02] a server gets its fixed arguments and only the environment that is allowed', async (t) => {
  const env = { allow: ['ALLOWED', 'MISSING'], set: { FIXED: '1' } };
  const { server, supervisor } = only(t, 'well', { env });
  const result = await call(server);
  assert.ok('content' in result && Array.isArray(result.content));
  assert.deepEqual(JSON.parse(result.content[0].text).env, { ALLOWED: 'yes', FIXED: '1' });
  const [told] = supervisor.catalog.servers;
  assert.equal(told!.state, ServerState.READY);
  assert.equal(told!.version, '1.2.3');
  assert.equal(told!.tools[0]!.name, 'echo');
  assert.equal(told!.tools[0]!.digest.length, 32);
});

test('[BRG-02] an executable other than the signed one is not started, until it is put back', async (t) => {
  const script = join(tempDir(t), 'server.ts');
  const [original, behaviour] = fixtureServer('well').args as [string, string];
  copyFileSync(original, script);
  const files = [{ path: script, sha256: sha256Of(original) }];
  writeFileSync(script, 'altered');
  const { server } = only(t, 'well', { args: [script, behaviour], files });
  const { error } = await eventually(() =>
    server.state.name === 'failed' ? server.state : undefined,
  );
  assert.equal(error.id, 'manifest.invalid');
  assert.match(error.message, /server\.ts is not the file that was signed/);
  copyFileSync(original, script);
  await ready(server);
});

test('[BRG-02] a server that exits is started again, and the catalog says so meanwhile', async (t) => {
  const { server, catalogs, restarts } = only(t, 'exits-on-call');
  const first = await ready(server);
  await assert.rejects(call(server), { id: 'tool.server_down' });
  await eventually(() => server.state.name === 'ready' && server.state !== first);
  assert.deepEqual(restarts, ['exits-on-call']);
  await eventually(() => {
    const states = catalogs.map(({ servers }) => servers[0]!.state);
    const failedAt = states.indexOf(ServerState.FAILED);
    return failedAt > 0 && states.indexOf(ServerState.READY, failedAt) > 0;
  });
});

test('a server that cannot start is tried again, ever more seldom', async (t) => {
  const { restarts, server } = only(t, 'exits-at-start');
  await eventually(() => restarts.length >= 3);
  assert.notEqual(server.state.name, 'ready');
});

test('a server that hangs for good is found out and started again', async (t) => {
  const { server, restarts } = only(t, 'hangs-for-good-on-call');
  await assert.rejects(call(server, 50), { id: 'tool.timeout' });
  await server.suspectHang();
  await eventually(() => restarts.length === 1);
  await ready(server);
});

test('a server that leaves one call unanswered and answers pings stays', async (t) => {
  const { server, restarts } = only(t, 'hangs-on-call');
  await assert.rejects(call(server, 50), { id: 'tool.timeout' });
  await server.suspectHang();
  assert.deepEqual([server.state.name, restarts.length], ['ready', 0]);
});

test('a changed list of tools makes a new catalog', async (t) => {
  const { server, supervisor, catalogs } = only(t, 'tells-a-change');
  await ready(server);
  const before = supervisor.catalog.servers[0]!.tools[0]!.digest;
  await call(server);
  await eventually(() => {
    const tool = catalogs.at(-1)?.servers[0]?.tools[0];
    return tool?.description === 'Echoes, changed.' && Buffer.compare(tool.digest, before) !== 0;
  });
});

test('a list of tools without end makes the server fail', async (t) => {
  const { server } = only(t, 'lists-without-end');
  await eventually(() => server.state.name === 'failed');
  assert.equal(server.state.name === 'failed' && server.state.error.id, 'tool.server_protocol');
});

test('servers stop at once while they start, run or wait, and nothing is left', async (t) => {
  const specs = (['well', 'hangs-at-start', 'exits-at-start', 'has-a-grandchild'] as const).map(
    (behaviour) => fixtureSpec(behaviour),
  );
  const { supervisor } = supervise(t, specs);
  await ready(supervisor.find('well')!);
  await supervisor.stop();
  assert.deepEqual([...new Set(supervisor.servers.map(({ state }) => state.name))], ['stopped']);
});

test('a server that ignores being asked is killed when the deadline has passed', async (t) => {
  const stopMs = async (deadline?: AbortSignal) => {
    const { server, supervisor } = only(t, 'ignores-sigterm');
    await ready(server);
    const startedMs = performance.now();
    await supervisor.stop(deadline);
    return performance.now() - startedMs;
  };
  const [patientMs, forcedMs] = await Promise.all([stopMs(), stopMs(AbortSignal.abort())]);
  assert.ok(forcedMs < patientMs / 2, `${forcedMs} ms, and ${patientMs} ms without a deadline`);
});
