import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { platform } from 'node:os';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';
import { eventually } from '@zerolatency/testing';
import { type Behaviour, fixtureServer } from '../test/fixture.ts';
import {
  connectMcp,
  type McpConnection,
  type McpOptions,
  type McpTransport,
  type Progress,
} from './connection.ts';
import { killGroup } from './process-group.ts';
import type { StdioLimits } from './stdio-transport.ts';

const CLIENT = { name: 'test', version: '0' };
const TIMEOUT_MS = 60_000;
const LIMITS: Partial<StdioLimits> = { maxLineBytes: 1024 * 1024, stopGraceMs: 100 };

function over(behaviour: Behaviour, env = {}): McpTransport {
  const { command, args } = fixtureServer(behaviour);
  return { kind: 'stdio', command, args, env };
}

async function start(t: TestContext, behaviour: Behaviour, more: Partial<McpOptions> = {}) {
  const connection = await connectMcp({
    transport: over(behaviour),
    client: CLIENT,
    limits: LIMITS,
    ...more,
  });
  t.after(() => connection.close());
  return connection;
}

const isError = (id: string) => (error: unknown) => error instanceof ZlError && error.id === id;

async function callFails(connection: McpConnection, id: string, callTimeoutMs = TIMEOUT_MS) {
  const call = connection.request('tools/call', { name: 'echo' }, { timeoutMs: callTimeoutMs });
  await assert.rejects(call, isError(id));
}

async function assertGone(connection: McpConnection, id?: string) {
  const { error } = await connection.closed;
  assert.equal(error?.id, id);
  assert.equal(killGroup(connection.pid!, 0), false, 'a process of the group is left');
}

async function echo(connection: McpConnection, meta: { traceparent?: string } = {}) {
  const params = { name: 'echo', arguments: { a: 1 }, _meta: { kept: true } };
  const result = await connection.request('tools/call', params, { timeoutMs: TIMEOUT_MS, ...meta });
  assert.ok('content' in result && Array.isArray(result.content));
  return JSON.parse(result.content[0].text);
}

test('a server gets exactly the arguments and environment it was given', async (t) => {
  const connection = await start(t, 'well', { transport: over('well', { ONLY: 'this' }) });
  assert.equal(connection.serverVersion, '1.2.3');
  assert.deepEqual((await echo(connection)).env, { ONLY: 'this' });
});

test('the traceparent joins the fields already in _meta', async (t) => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const { params } = await echo(await start(t, 'well'), { traceparent });
  assert.deepEqual(params._meta, { kept: true, traceparent });
});

test('a process that cannot be recorded is ended', async () => {
  let pid = 0;
  const connecting = connectMcp({
    transport: over('well'),
    client: CLIENT,
    limits: LIMITS,
    onSpawn: (spawned) => {
      pid = spawned;
      throw new Error('no space left');
    },
  });
  await assert.rejects(connecting, isError('internal'));
  await eventually(() => !killGroup(pid, 0));
});

test('closing leaves no process and fails later requests', async (t) => {
  const connection = await start(t, 'well');
  await connection.close();
  await connection.close();
  await assertGone(connection);
  await callFails(connection, 'tool.server_down');
});

test('closing fails a call in flight', async (t) => {
  const connection = await start(t, 'hangs-on-call');
  const failed = callFails(connection, 'tool.server_down');
  await connection.close();
  await failed;
});

test('a command that does not exist is a server that is down', async (t) => {
  const started = start(t, 'well', {
    transport: { kind: 'stdio', command: '/no/such/command', args: [], env: {} },
  });
  await assert.rejects(started, isError('tool.server_down'));
});

test('running out of file descriptors fails the server and nothing else', {
  skip: platform() === 'win32' ? 'has no ulimit' : false,
}, () => {
  const module = fileURLToPath(new URL('./connection.ts', import.meta.url));
  const script = `
    import { openSync } from 'node:fs';
    import { connectMcp } from ${JSON.stringify(module)};
    const transport = { kind: 'stdio', command: process.execPath, args: [], env: {} };
    for (let isFull = false; !isFull; ) {
      try { openSync('/dev/null'); } catch (error) { isFull = error.code === 'EMFILE'; }
    }
    const started = connectMcp({ transport, client: { name: 'test', version: '0' } });
    await started.catch((error) => process._rawDebug(error.id));`;
  const limited =
    'ulimit -n 100 && exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"';
  const run = spawnSync('sh', ['-c', limited, process.execPath, script], { encoding: 'utf8' });
  assert.deepEqual([run.stderr, run.status], ['tool.server_down\n', 0]);
});

test('a server that exits at start is down, with its status in the error', async (t) => {
  await assert.rejects(start(t, 'exits-at-start'), (error) => {
    return isError('tool.server_down')(error) && /status 7/.test(String(error));
  });
});

test('a server that hangs at start times out', async (t) => {
  const started = start(t, 'hangs-at-start', { limits: { ...LIMITS, startTimeoutMs: 300 } });
  await assert.rejects(started, isError('tool.timeout'));
});

test('an abort ends a server that is starting', async (t) => {
  const stop = new AbortController();
  const started = start(t, 'hangs-at-start', { signal: stop.signal });
  stop.abort();
  await assert.rejects(started, isError('tool.server_down'));
});

test('a server that exits during a call fails the call', async (t) => {
  const connection = await start(t, 'exits-on-call');
  await callFails(connection, 'tool.server_down');
  await assertGone(connection, 'tool.server_down');
});

test('a call that is not answered times out, and the server stays', async (t) => {
  const connection = await start(t, 'hangs-on-call');
  await callFails(connection, 'tool.timeout', 50);
  assert.equal((await connection.listTools()).length, 1);
});

test('a cancelled call fails with the reason of its signal', async (t) => {
  const connection = await start(t, 'hangs-on-call');
  const stop = new AbortController();
  const call = connection.request(
    'tools/call',
    { name: 'echo' },
    { timeoutMs: TIMEOUT_MS, signal: stop.signal },
  );
  stop.abort();
  await assert.rejects(call, isError('call.cancelled'));
});

for (const behaviour of [
  'floods-without-newline',
  'floods-with-lines',
  'floods-with-messages',
] as const) {
  test(`a server that ${behaviour.replaceAll('-', ' ')} is killed for its protocol`, async (t) => {
    const connection = await start(t, behaviour);
    await callFails(connection, 'tool.server_protocol');
    await assertGone(connection, 'tool.server_protocol');
  });
}

test('an answer over the bound fails its request, wherever its id stands, and no other', async (t) => {
  const connection = await start(t, 'answers-huge-in-order');
  const call = (order: readonly string[], timeoutMs = TIMEOUT_MS) =>
    connection.request('tools/call', { name: 'echo', arguments: { order } }, { timeoutMs });
  const other = call([]);
  for (const order of [
    ['jsonrpc', 'id', 'result'],
    ['id', 'jsonrpc', 'result'],
    ['id', 'result', 'jsonrpc'],
    ['result', 'id', 'jsonrpc'],
    ['jsonrpc', 'result', 'id'],
    ['result', 'jsonrpc', 'id'],
  ]) {
    await assert.rejects(call(order), isError('tool.result_too_large'), order.join());
  }
  assert.equal((await connection.listTools()).length, 1);
  await connection.close();
  await assert.rejects(other, isError('tool.server_down'));
});

test('a message over the bound that answers nothing is a bad line', async (t) => {
  let badLines = 0;
  const connection = await start(t, 'answers-huge-in-order', { onBadLine: () => badLines++ });
  const call = connection.request(
    'tools/call',
    { name: 'echo', arguments: { order: ['jsonrpc', 'id', 'method', 'result'] } },
    { timeoutMs: TIMEOUT_MS },
  );
  const timedOut = assert.rejects(call, isError('tool.server_down'));
  await eventually(() => badLines === 1);
  await connection.close();
  await timedOut;
});

test('an answer that is not MCP counts as a bad line, and the call times out', async (t) => {
  let badLines = 0;
  const connection = await start(t, 'answers-with-rubbish', { onBadLine: () => badLines++ });
  await callFails(connection, 'tool.timeout', 300);
  assert.equal(badLines, 1);
});

test('an error of a live server fails its call, whatever is in it', async (t) => {
  const connection = await start(t, 'answers-with-an-error');
  const errors: [object, string][] = [
    [{ code: -32601, message: 'no such method' }, 'tool.unknown'],
    [{ code: -32602, message: 'bad' }, 'tool.arguments_invalid'],
    [{ code: -32000, message: 'Connection closed' }, 'tool.failed'],
    [{ code: -32001, message: 'Request timed out' }, 'tool.failed'],
    [{ code: 1, message: 'Not connected' }, 'tool.failed'],
    [{ code: 1.5, message: 'half' }, 'tool.failed'],
    [{ code: 'E_BUSY', message: 'busy' }, 'tool.failed'],
    [{ code: -32000 }, 'tool.failed'],
    [{}, 'tool.failed'],
  ];
  for (const [error, id] of errors) {
    const params = { name: 'echo', arguments: { error } };
    const call = connection.request('tools/call', params, { timeoutMs: TIMEOUT_MS });
    await assert.rejects(call, isError(id), JSON.stringify(error));
  }
  await connection.ping(TIMEOUT_MS);
});

test('a banner before the protocol is counted and tolerated', async (t) => {
  let badLines = 0;
  await start(t, 'prints-a-banner', { onBadLine: () => badLines++ });
  assert.equal(badLines, 1);
});

test('an answer in small pieces is put together', async (t) => {
  const connection = await start(t, 'drips');
  const result = await connection.request(
    'tools/call',
    { name: 'echo' },
    { timeoutMs: TIMEOUT_MS },
  );
  assert.deepEqual(result, { content: [] });
});

test('a server that does not read its stdin is broken once too much is pending', async (t) => {
  const connection = await start(t, 'is-deaf', { limits: { ...LIMITS, maxPendingBytes: 1000 } });
  const text = 'x'.repeat(1024 * 1024);
  const params = { name: 'echo', arguments: { text } };
  const calls = [1, 2, 3].map(() =>
    connection.request('tools/call', params, { timeoutMs: TIMEOUT_MS }),
  );
  for (const call of calls) await assert.rejects(call, isError('tool.server_protocol'));
  await assertGone(connection, 'tool.server_protocol');
});

test('a server that closes its stdout and lives is ended at once', async (t) => {
  const connection = await start(t, 'closes-stdout');
  await callFails(connection, 'tool.server_protocol');
  await assertGone(connection, 'tool.server_protocol');
});

test('a server that ignores SIGTERM is killed', async (t) => {
  const connection = await start(t, 'ignores-sigterm');
  await connection.close();
  await assertGone(connection);
});

for (const behaviour of ['has-a-grandchild', 'leaves-a-grandchild'] as const) {
  test(`a server that ${behaviour.replaceAll('-', ' ')} leaves no orphan`, async (t) => {
    const said = Promise.withResolvers<number>();
    const onStderr = (line: string) => said.resolve(Number(line.split(' ')[1]));
    const connection = await start(t, behaviour, { onStderr });
    const grandchild = await said.promise;
    if (behaviour === 'has-a-grandchild') await connection.close();
    await connection.closed;
    // Empty when it is gone, Z until its status is collected; it may still be exiting.
    await eventually(() => {
      const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', `${grandchild}`], {
        encoding: 'utf8',
      });
      return /^(Z.*)?$/.test(stdout.trim());
    });
  });
}

test('a list of tools without end is refused', async (t) => {
  const connection = await start(t, 'lists-without-end', { limits: { ...LIMITS, maxTools: 20 } });
  await assert.rejects(connection.listTools(), isError('tool.server_protocol'));
});

test('a changed list of tools is reported', async (t) => {
  const told = Promise.withResolvers<void>();
  const connection = await start(t, 'tells-a-change', { onToolsChanged: () => told.resolve() });
  await connection.request('tools/call', { name: 'echo' }, { timeoutMs: TIMEOUT_MS });
  await told.promise;
  assert.equal((await connection.listTools())[0]!.description, 'Echoes, changed.');
});

test('a list that changes constantly is fetched at a bounded rate, and after the last change', async (t) => {
  let asked = 0;
  const last = Promise.withResolvers<void>();
  const onToolsChanged = async () => {
    asked += 1;
    // The last listing may still run when the test closes the connection.
    const [tool] = await connection.listTools().catch(() => []);
    if (tool?.description === 'Echoes, changed 3000 times.') last.resolve();
  };
  const connection = await start(t, 'tells-changes-without-end', { onToolsChanged });
  for (let call = 0; call < 3; call++) {
    await connection.request('tools/call', { name: 'echo' }, { timeoutMs: TIMEOUT_MS });
  }
  await last.promise;
  assert.ok(asked < 100, `${asked} times`);
});

test('stderr without end is cut to a bounded number of lines', async (t) => {
  let lines = 0;
  const connection = await start(t, 'logs-without-end', { onStderr: () => lines++ });
  await connection.request('tools/call', { name: 'echo' }, { timeoutMs: TIMEOUT_MS });
  await connection.close();
  assert.ok(lines > 0 && lines < 1000, `${lines} lines`);
});

test('thousands of progress notifications become a few, the last of them included', async (t) => {
  const connection = await start(t, 'reports-progress');
  const seen: Progress[] = [];
  const params = { name: 'echo', arguments: {} };
  const onProgress = (step: Progress) => seen.push(step);
  await connection.request('tools/call', params, { timeoutMs: TIMEOUT_MS, onProgress });
  assert.deepEqual(seen.at(-1), { progress: 1_000, total: 1_000, message: 'copies' });
  assert.ok(seen.length < 10, `${seen.length} notifications`);
});

test('a tool that can only be called as a task says so', async (t) => {
  const connection = await start(t, 'demands-a-task');
  assert.deepEqual(
    (await connection.listTools()).map(({ needsTask }) => needsTask),
    [true],
  );
});

for (const behaviour of ['exits-on-discover', 'ignores-discover'] as const) {
  test(`a server of the 2025 era that ${behaviour.replace('-', ' ')} is started all the same`, async (t) => {
    const startTimeoutMs = behaviour === 'ignores-discover' ? 1_500 : TIMEOUT_MS;
    const connection = await start(t, behaviour, { limits: { ...LIMITS, startTimeoutMs } });
    assert.equal(connection.protocolVersion, '2025-06-18');
    assert.equal((await connection.listTools()).length, 1);
  });
}

const ERAS = { legacy: '2025-11-25', modern: '2026-07-28' };
for (const [era, protocolVersion] of Object.entries(ERAS)) {
  test(`a server of the ${era} era is spoken to in ${protocolVersion}, with all that a call needs`, async (t) => {
    const script = fileURLToPath(new URL('../test/servers/era-server.ts', import.meta.url));
    const args = [script, era];
    const transport = { kind: 'stdio', command: process.execPath, args, env: {} } as const;
    const changed = Promise.withResolvers<void>();
    const onToolsChanged = () => changed.resolve();
    const connection = await start(t, 'well', { transport, onToolsChanged });
    assert.equal(connection.protocolVersion, protocolVersion);
    assert.equal(connection.serverVersion, '1.2.3');
    const [tool] = await connection.listTools();
    assert.equal(tool!.description, 'Echoes.');
    const seen: Progress[] = [];
    const params = { name: 'echo', arguments: { a: 1 } };
    const onProgress = (step: Progress) => {
      seen.push(step);
      void connection.listTools();
    };
    const result = await connection.request('tools/call', params, {
      timeoutMs: TIMEOUT_MS,
      onProgress,
    });
    assert.ok('structuredContent' in result && !('resultType' in result));
    assert.deepEqual(result.structuredContent, { arguments: { a: 1 } });
    assert.deepEqual(seen, [{ progress: 1, total: 2, message: 'half' }]);
    await changed.promise;
    assert.equal((await connection.listTools())[0]!.description, 'Echoes, changed.');
    await connection.ping(TIMEOUT_MS);
    await assert.rejects(
      connection.request('tools/none', {}, { timeoutMs: TIMEOUT_MS }),
      isError('tool.unknown'),
    );
  });
}
