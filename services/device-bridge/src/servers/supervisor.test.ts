import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type CommandServer, folderDigest, type ManifestServer } from '@zerolatency/manifest';
import { killGroup } from '@zerolatency/mcp';
import { type Behaviour, fixtureServer } from '@zerolatency/mcp/testing';
import { type Catalog, ServerState } from '@zerolatency/proto/bridge';
import { eventually, tempDir } from '@zerolatency/testing';
import { fixtureSpec, fsSpec, sha256Of } from '../../test/manifests.ts';
import { Containments } from '../adapters/processes/containments.ts';
import { serverLauncher } from '../adapters/processes/launch-server.ts';
import type { ManagedServer } from './managed-server.ts';
import { Supervisor } from './supervisor.ts';

const quiet = { debug() {}, info() {}, warn() {} };

async function contain(t: TestContext) {
  const containments = await Containments.open({
    stateDir: tempDir(t),
    hidden: [],
    guarded: [],
    searchPath: process.env.PATH ?? '',
    cgroup: undefined,
    onLeft: assert.ifError,
  });
  t.after(() => containments.close());
  return containments;
}

function supervise(t: TestContext, specs: readonly ManifestServer[]) {
  const containments = contain(t);
  const catalogs: Catalog[] = [];
  const restarts: string[] = [];
  const supervisor = new Supervisor({
    launch: serverLauncher({
      environment: { ALLOWED: 'yes', SECRET: 'no' },
      version: '0.1.0',
      maxResultBytes: 1024 * 1024,
      containments: {
        contain: async (spec, program) => (await containments).contain(spec, program),
      },
      leftovers: { started() {}, ended() {} },
      log: quiet,
    }),
    backoff: { minMs: 5, maxMs: 50 },
    log: quiet,
    onCatalog: (catalog) => catalogs.push(catalog),
    onRestart: (server) => restarts.push(server),
  });
  supervisor.follow(specs);
  t.after(() => supervisor.stop());
  return { supervisor, catalogs, restarts };
}

function only(t: TestContext, behaviour: Behaviour, more: Partial<CommandServer> = {}) {
  const all = supervise(t, [fixtureSpec(behaviour, more)]);
  const server = all.supervisor.find(behaviour)!;
  return { ...all, server };
}

const ready = (server: ManagedServer) =>
  eventually(() => (server.state.name === 'ready' ? server.state : undefined));

const call = async (server: ManagedServer, timeoutMs = 10_000) => {
  const { connection } = await ready(server);
  return connection.request('tools/call', { name: 'echo' }, { timeoutMs });
};

test('[BRG-02] a server gets its fixed arguments and only the allowed environment', async (t) => {
  const env = { allow: ['ALLOWED', 'MISSING'], set: { FIXED: '1' } };
  const { server, supervisor } = only(t, 'well', { env });
  const result = await call(server);
  assert.ok('content' in result && Array.isArray(result.content));
  const { PWD: _, ZL_CONTAINED_BY: __, ...given } = JSON.parse(result.content[0].text).env;
  assert.deepEqual(given, { ALLOWED: 'yes', FIXED: '1' });
  const [told] = supervisor.catalog.servers;
  assert.equal(told!.state, ServerState.READY);
  assert.equal(told!.version, '1.2.3');
  assert.equal(told!.tools[0]!.name, 'echo');
  assert.equal(told!.tools[0]!.digest.length, 32);
});

test('[BRG-02] an executable other than the signed one does not start until it is restored', async (t) => {
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
  assert.match(error.message, /server\.ts is not as it was signed/);
  copyFileSync(original, script);
  await ready(server);
});

test('[BRG-02] a server whose imported code has changed does not start until it is restored', async (t) => {
  const dir = join(tempDir(t), 'program');
  mkdirSync(join(dir, 'lib'), { recursive: true });
  const [script = ''] = fixtureServer('well').args;
  const imported = join(dir, 'lib', 'server.ts');
  copyFileSync(script, imported);
  const main = join(dir, 'main.ts');
  writeFileSync(main, "import './lib/server.ts';");
  const files = [{ path: main, sha256: sha256Of(main) }];
  const folders = [{ path: dir, sha256: await folderDigest(dir) }];
  appendFileSync(imported, '// changed');
  const { server } = only(t, 'well', { args: [main, 'well'], files, folders });
  const failed = await eventually(() =>
    server.state.name === 'failed' ? server.state : undefined,
  );
  assert.match(failed.error.message, /program is not as it was signed/);
  copyFileSync(script, imported);
  await ready(server);
});

test('[BRG-02] an interpreter whose code is not pinned does not start, unless that is accepted', async (t) => {
  const { unpinned: _, ...spec } = fixtureSpec('well');
  const { supervisor } = supervise(t, [spec]);
  const { error } = await eventually(() => {
    const { state } = supervisor.find('well')!;
    return state.name === 'failed' ? state : undefined;
  });
  assert.equal(error.id, 'manifest.invalid');
  assert.match(
    error.message,
    /is in no pinned folder: pin its folder in `folders`, or set `unpinned`/,
  );
  supervisor.follow([{ ...spec, unpinned: true }]);
  await eventually(() => supervisor.find('well')?.state.name === 'ready');
});

test('[BRG-02] a built-in server needs no hash, and knows which of its tools have effects', async (t) => {
  const { supervisor } = supervise(t, [fsSpec(tempDir(t))]);
  const server = supervisor.find('fs')!;
  const { tools } = await ready(server);
  assert.deepEqual([...tools.keys()], ['read']);
  assert.deepEqual([server.hasEffects('read'), server.hasEffects('write')], [false, true]);
});

test('[BRG-02] a server that exits is restarted, and the catalog shows it meanwhile', async (t) => {
  const { server, catalogs, restarts } = only(t, 'exits-on-call');
  const first = await ready(server);
  await assert.rejects(call(server), { id: 'tool.server_down' });
  await eventually(() => server.state.name === 'ready' && server.state !== first);
  assert.deepEqual(restarts, ['exits-on-call']);
  await eventually(() => {
    const isReady = catalogs.map(({ servers }) => servers[0]!.state === ServerState.READY);
    // A backoff shorter than a turn of the event loop shows it starting and never failed.
    const goneAt = isReady.indexOf(false, isReady.indexOf(true));
    return goneAt > 0 && isReady.indexOf(true, goneAt) > 0;
  });
});

test('a server that cannot start is retried at growing intervals', async (t) => {
  const { restarts, server } = only(t, 'exits-at-start');
  await eventually(() => restarts.length >= 3);
  assert.notEqual(server.state.name, 'ready');
});

test('a server that hangs for good is detected and restarted', async (t) => {
  const { server, restarts } = only(t, 'hangs-for-good-on-call');
  await assert.rejects(call(server, 50), { id: 'tool.timeout' });
  await server.suspectHang();
  await eventually(() => restarts.length === 1);
  await ready(server);
});

test('a server that leaves one call unanswered but answers pings keeps running', async (t) => {
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

test('servers stop at once while they start, run or wait, and leave no process', async (t) => {
  const specs = (['well', 'hangs-at-start', 'exits-at-start', 'has-a-grandchild'] as const).map(
    (behaviour) => fixtureSpec(behaviour),
  );
  const { supervisor } = supervise(t, specs);
  await ready(supervisor.find('well')!);
  await supervisor.stop();
  assert.deepEqual([...new Set(supervisor.servers.map(({ state }) => state.name))], ['stopped']);
});

test('a server that ignores SIGTERM is killed at the deadline', async (t) => {
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

const isAlive = (pid: number) => killGroup(pid, 0);

async function pidOf(server: ManagedServer | undefined): Promise<number> {
  const { connection } = await ready(server!);
  return connection.pid!;
}

test('[BRG-02] a new manifest leaves unchanged servers alone, ends dropped ones and starts new ones', async (t) => {
  const kept = fixtureSpec('well');
  const dropped = fixtureSpec('has-a-grandchild');
  const added = fixtureSpec('is-slow');
  const { supervisor, catalogs } = supervise(t, [kept, dropped]);
  const [keptPid, droppedPid] = [
    await pidOf(supervisor.find('well')),
    await pidOf(supervisor.find('has-a-grandchild')),
  ];
  supervisor.follow([added, structuredClone(kept)]);
  assert.equal(supervisor.find('has-a-grandchild'), undefined);
  assert.deepEqual(supervisor.leaving, ['has-a-grandchild']);
  await eventually(() => !isAlive(droppedPid) && supervisor.leaving.length === 0);
  assert.equal(await pidOf(supervisor.find('well')), keptPid);
  assert.ok(isAlive(await pidOf(supervisor.find('is-slow'))));
  await eventually(() => {
    const told = catalogs.at(-1)?.servers.map(({ name, state }) => `${name} ${state}`);
    return told?.join() === `is-slow ${ServerState.READY},well ${ServerState.READY}`;
  });
});

test('[BRG-02] a changed server lets its calls end and only then starts with the new spec', async (t) => {
  const before = fixtureSpec('is-slow');
  const { supervisor, catalogs, restarts } = supervise(t, [before]);
  const old = supervisor.find('is-slow')!;
  const { connection } = await ready(old);
  old.semaphore.acquire(() => {});
  const answer = connection.request('tools/call', { name: 'echo' }, { timeoutMs: 10_000 });
  supervisor.follow([{ ...before, env: { allow: ['ALLOWED'], set: {} } }]);
  assert.deepEqual([old.state.name, supervisor.leaving], ['draining', []]);
  await eventually(() => catalogs.at(-1)?.servers[0]?.state === ServerState.STARTING);
  assert.ok('content' in (await answer) && isAlive(connection.pid!));
  old.semaphore.release();
  const next = await eventually(() => {
    const found = supervisor.find('is-slow');
    return found === old ? undefined : found;
  });
  assert.equal(isAlive(connection.pid!), false);
  assert.ok('env' in next.spec && next.spec.env.allow[0] === 'ALLOWED');
  await pidOf(next);
  assert.deepEqual(restarts, []);
});

test('a server that dies while it drains is not restarted', async (t) => {
  const { server, supervisor, restarts } = only(t, 'exits-on-call');
  const { connection } = await ready(server);
  server.semaphore.acquire(() => {});
  const answer = connection.request('tools/call', { name: 'echo' }, { timeoutMs: 10_000 });
  supervisor.follow([]);
  await assert.rejects(answer, { id: 'tool.server_down' });
  await eventually(() => server.state.name === 'stopped');
  assert.deepEqual([restarts, supervisor.servers, supervisor.leaving], [[], [], []]);
});

test('a draining server is stopped once its longest call must have ended', async (t) => {
  const { server, supervisor } = only(t, 'well', { limits: { callTimeoutMs: 50 } });
  const pid = await pidOf(server);
  server.semaphore.acquire(() => {});
  supervisor.follow([]);
  await eventually(() => server.state.name === 'stopped');
  assert.equal(isAlive(pid), false);
});

test('a stop also ends draining servers and starts nothing afterwards', async (t) => {
  const { server, supervisor } = only(t, 'well');
  const pid = await pidOf(server);
  server.semaphore.acquire(() => {});
  supervisor.follow([fixtureSpec('well', { args: fixtureServer('is-slow').args })]);
  await supervisor.stop();
  supervisor.follow([fixtureSpec('well')]);
  assert.equal(isAlive(pid), false);
  assert.deepEqual(
    supervisor.servers.map(({ state }) => state.name),
    ['stopped'],
  );
});

test('[BRG-02] a server dropped while it starts, waits or hangs ends, and may return', async (t) => {
  const specs = (['hangs-at-start', 'exits-at-start', 'well'] as const).map((behaviour) =>
    fixtureSpec(behaviour),
  );
  const { supervisor } = supervise(t, specs);
  for (const wanted of [[], specs, specs.slice(1), [], specs.slice(2)]) supervisor.follow(wanted);
  await eventually(() => supervisor.leaving.length === 0);
  // The dropped one has the name until it has ended.
  await eventually(() => supervisor.find('well')?.state.name === 'ready');
  assert.deepEqual(
    supervisor.servers.map(({ spec }) => spec.name),
    ['well'],
  );
});
