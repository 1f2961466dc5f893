import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { platform } from 'node:os';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';
import { type Behaviour, fixtureServer } from '../test/fixture.ts';
import type { StdioLimits } from './limits.ts';
import { killGroup } from './process-group.ts';
import { type McpSession, type StdioServer, startStdioServer } from './session.ts';

const client = { name: 'test', version: '0' };
const timeoutMs = 20_000;
const limits: Partial<StdioLimits> = { maxLineBytes: 1024 * 1024, stopGraceMs: 100 };

async function start(t: TestContext, behaviour: Behaviour, more: Partial<StdioServer> = {}) {
  const session = await startStdioServer({ ...fixtureServer(behaviour), client, limits, ...more });
  t.after(() => session.close());
  return session;
}

const isError = (id: string) => (error: unknown) => error instanceof ZlError && error.id === id;

async function callFails(session: McpSession, id: string, callTimeoutMs = timeoutMs) {
  const call = session.call('tools/call', { name: 'echo' }, { timeoutMs: callTimeoutMs });
  await assert.rejects(call, isError(id));
}

async function assertGone(session: McpSession, id?: string) {
  const { error } = await session.closed;
  assert.equal(error?.id, id);
  assert.equal(killGroup(session.pid!, 0), false, 'a process of the group is left');
}

async function echo(session: McpSession, meta: { traceparent?: string } = {}) {
  const params = { name: 'echo', arguments: { a: 1 }, _meta: { kept: true } };
  const result = await session.call('tools/call', params, { timeoutMs, ...meta });
  assert.ok('content' in result && Array.isArray(result.content));
  return JSON.parse(result.content[0].text);
}

test('a server gets exactly its arguments and the environment it was given', async (t) => {
  const session = await start(t, 'well', { env: { ONLY: 'this' } });
  assert.equal(session.serverVersion, '1.2.3');
  assert.deepEqual((await echo(session)).env, { ONLY: 'this' });
});

test('the traceparent travels in _meta beside what was there', async (t) => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const { params } = await echo(await start(t, 'well'), { traceparent });
  assert.deepEqual(params._meta, { kept: true, traceparent });
});

test('closing leaves no process and fails what is called afterwards', async (t) => {
  const session = await start(t, 'well');
  await session.close();
  await session.close();
  await assertGone(session);
  await callFails(session, 'tool.server_down');
});

test('closing fails a call in flight', async (t) => {
  const session = await start(t, 'hangs-on-call');
  const failed = callFails(session, 'tool.server_down');
  await session.close();
  await failed;
});

test('a command that does not exist is a server that is down', async (t) => {
  const started = start(t, 'well', { command: '/no/such/command' });
  await assert.rejects(started, isError('tool.server_down'));
});

test('a server that finds no file descriptor left is down, and nothing else is', {
  skip: platform() === 'win32' ? 'has no ulimit' : false,
}, () => {
  const session = fileURLToPath(new URL('./session.ts', import.meta.url));
  const script = `
    import { openSync } from 'node:fs';
    import { startStdioServer } from ${JSON.stringify(session)};
    const server = { name: 'x', command: process.execPath, args: [], env: {} };
    try { for (;;) openSync('/dev/null'); } catch {}
    const started = startStdioServer({ ...server, client: { name: 'test', version: '0' } });
    await started.catch((error) => process._rawDebug(error.id));`;
  const limited =
    'ulimit -n 100 && exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"';
  const run = spawnSync('sh', ['-c', limited, process.execPath, script], { encoding: 'utf8' });
  assert.deepEqual([run.stderr, run.status], ['tool.server_down\n', 0]);
});

test('a server that exits at start is down, and its status is told', async (t) => {
  await assert.rejects(start(t, 'exits-at-start'), (error) => {
    return isError('tool.server_down')(error) && /status 7/.test(String(error));
  });
});

test('a server that hangs at start times out', async (t) => {
  const started = start(t, 'hangs-at-start', { limits: { ...limits, startTimeoutMs: 300 } });
  await assert.rejects(started, isError('tool.timeout'));
});

test('an abort ends a server that is starting', async (t) => {
  const stop = new AbortController();
  const started = start(t, 'hangs-at-start', { signal: stop.signal });
  stop.abort();
  await assert.rejects(started, isError('tool.server_down'));
});

test('a server that exits during a call fails the call', async (t) => {
  const session = await start(t, 'exits-on-call');
  await callFails(session, 'tool.server_down');
  await assertGone(session, 'tool.server_down');
});

test('a call that is not answered times out, and the server stays', async (t) => {
  const session = await start(t, 'hangs-on-call');
  await callFails(session, 'tool.timeout', 50);
  assert.equal((await session.listTools()).length, 1);
});

test('a cancelled call fails with the reason of its signal', async (t) => {
  const session = await start(t, 'hangs-on-call');
  const stop = new AbortController();
  const call = session.call('tools/call', { name: 'echo' }, { timeoutMs, signal: stop.signal });
  stop.abort();
  await assert.rejects(call, isError('call.cancelled'));
});

for (const behaviour of [
  'floods-without-newline',
  'floods-with-lines',
  'floods-with-messages',
  'prints-a-huge-line',
] as const) {
  test(`a server that ${behaviour.replaceAll('-', ' ')} is killed for its protocol`, async (t) => {
    const session = await start(t, behaviour);
    await callFails(session, 'tool.server_protocol');
    await assertGone(session, 'tool.server_protocol');
  });
}

test('an answer that is not MCP counts as a bad line, and the call times out', async (t) => {
  let badLines = 0;
  const session = await start(t, 'answers-with-rubbish', { onBadLine: () => badLines++ });
  await callFails(session, 'tool.timeout', 300);
  assert.equal(badLines, 1);
});

test('a banner before the protocol is counted and tolerated', async (t) => {
  let badLines = 0;
  await start(t, 'prints-a-banner', { onBadLine: () => badLines++ });
  assert.equal(badLines, 1);
});

test('an answer in small pieces is put together', async (t) => {
  const session = await start(t, 'drips');
  const result = await session.call('tools/call', { name: 'echo' }, { timeoutMs });
  assert.deepEqual(result, { content: [] });
});

test('a server that does not read its stdin is broken once too much is pending', async (t) => {
  const session = await start(t, 'is-deaf', { limits: { ...limits, maxPendingBytes: 1000 } });
  const text = 'x'.repeat(1024 * 1024);
  const params = { name: 'echo', arguments: { text } };
  const calls = [1, 2, 3].map(() => session.call('tools/call', params, { timeoutMs }));
  for (const call of calls) await assert.rejects(call, isError('tool.server_protocol'));
  await assertGone(session, 'tool.server_protocol');
});

test('a server that ignores SIGTERM is killed', async (t) => {
  const session = await start(t, 'ignores-sigterm');
  await session.close();
  await assertGone(session);
});

for (const behaviour of ['has-a-grandchild', 'leaves-a-grandchild'] as const) {
  test(`a server that ${behaviour.replaceAll('-', ' ')} leaves no orphan`, async (t) => {
    const said = Promise.withResolvers<number>();
    const onStderr = (line: string) => said.resolve(Number(line.split(' ')[1]));
    const session = await start(t, behaviour, { onStderr });
    const grandchild = await said.promise;
    if (behaviour === 'has-a-grandchild') await session.close();
    await session.closed;
    // Empty when it is gone; Z when nobody has fetched its status yet.
    const state = spawnSync('ps', ['-o', 'stat=', '-p', `${grandchild}`], { encoding: 'utf8' });
    assert.match(state.stdout.trim(), /^(Z.*)?$/);
  });
}

test('a list of tools without end is refused', async (t) => {
  const session = await start(t, 'lists-without-end', { limits: { ...limits, maxTools: 20 } });
  await assert.rejects(session.listTools(), isError('tool.server_protocol'));
});

test('a changed list of tools is told', async (t) => {
  const told = Promise.withResolvers<void>();
  const session = await start(t, 'tells-a-change', { onToolsChanged: () => told.resolve() });
  await session.call('tools/call', { name: 'echo' }, { timeoutMs });
  await told.promise;
  assert.equal((await session.listTools())[0]!.description, 'Echoes, changed.');
});

test('a list that changes all the time is asked for now and then, and after the last change', async (t) => {
  let asked = 0;
  const last = Promise.withResolvers<void>();
  const onToolsChanged = async () => {
    asked += 1;
    const [tool] = await session.listTools();
    if (tool?.description === 'Echoes, changed 3000 times.') last.resolve();
  };
  const session = await start(t, 'tells-changes-without-end', { onToolsChanged });
  for (let call = 0; call < 3; call++) {
    await session.call('tools/call', { name: 'echo' }, { timeoutMs });
  }
  await last.promise;
  assert.ok(asked < 100, `${asked} times`);
});

test('stderr without end is cut to a bounded number of lines', async (t) => {
  let lines = 0;
  const session = await start(t, 'logs-without-end', { onStderr: () => lines++ });
  await session.call('tools/call', { name: 'echo' }, { timeoutMs });
  await session.close();
  assert.ok(lines > 0 && lines < 1000, `${lines} lines`);
});
