import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { Role } from '@zerolatency/proto/agent';
import { toConnectError } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import { decodeJwt } from 'jose';
import { CANCELLED, DONE, type FakeTurn, say, serveHost } from '../../test/fake-host.ts';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { installed, runZl } from '../../test/installed.ts';

function* answer({ start }: FakeTurn) {
  yield say(`you said ${start.text}`);
  yield DONE;
}

test("with a message it runs one turn as the installation's user, with its device", async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, answer);
  const ran = await made.zl(['chat', 'good', 'morning']);
  assert.deepEqual(ran, {
    status: 0,
    stdout: 'you said good morning\n  1 step, first token 1.5 ms, total 20.0 ms, turn t-1\n',
    stderr: '',
  });
  assert.deepEqual(
    host.starts.map(({ start }) => [start.deviceId, start.model]),
    [['this-machine', '']],
  );
  const claims = decodeJwt(host.tokens[0]?.replace('Bearer ', '') ?? '');
  assert.deepEqual([claims.sub, claims.tenant, claims.roles], ['me', 'local', ['developer']]);
  await made.zl(['chat', '--no-device', '--model', 'fast', 'hi']);
  assert.deepEqual([host.starts[1]?.start.deviceId, host.starts[1]?.start.model], ['', 'fast']);
});

test('--json prints one event per line, with the same exit status', async (t) => {
  const made = await installed(t);
  await serveHost(t, made, answer);
  const { status, stdout } = await made.zl(['chat', '--json', 'hi']);
  assert.equal(status, 0);
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(events[0], {
    sequence: '1',
    sessionId: 's-1',
    turnId: 't-1',
    assistantDelta: { text: 'you said hi' },
  });
  assert.equal(events[1].assistantDone.steps, 1);
});

test('[CLI-02] a device that cannot be reached leaves a chat without tools, unless it was named', async (t) => {
  const made = await installed(t);
  const value = { id: 'device.offline', message: 'this-machine is not connected' };
  const host = await serveHost(t, made, function* (turn) {
    if (!turn.start.deviceOptional) return yield { case: 'error', value };
    yield { case: 'deviceUnavailable', value: { error: value } };
    yield* answer(turn);
  });
  const bare = await made.zl(['chat', 'hi']);
  assert.equal(bare.status, 0);
  assert.match(bare.stdout, /^you said hi\n/);
  assert.equal(
    bare.stderr,
    'zl: device.offline: this-machine is not connected; this answer is without tools. "zl doctor" names the hop that fails.\n',
  );
  const named = await made.zl(['chat', '--device', 'this-machine', 'hi']);
  assert.equal(named.status, 1);
  assert.match(named.stdout + named.stderr, /device\.offline/);
  assert.deepEqual(
    host.starts.map(({ start }) => [start.deviceId, start.deviceOptional]),
    [
      ['this-machine', true],
      ['this-machine', false],
    ],
  );
});

test('[CLI-02] a turn that the relay could not carry exits with 3', async (t) => {
  const made = await installed(t);
  const value = { id: 'relay.unreachable', message: 'the relay of the device cannot be reached' };
  await serveHost(t, made, () => [{ case: 'error', value }]);
  assert.equal((await made.zl(['chat', '--device', 'this-machine', 'hi'])).status, 3);
});

test('a failed turn exits with 1 and prints its error once', async (t) => {
  const made = await installed(t);
  const value = { id: 'budget.steps', message: 'too many', help: 'ask for less' };
  await serveHost(t, made, () => [say('well'), { case: 'error', value }]);
  assert.deepEqual(await made.zl(['chat', 'hi']), {
    status: 1,
    stdout: 'well\n  ✗ budget.steps: too many\n    ask for less\n  turn t-1\n',
    stderr: '',
  });
});

test('reports an unreachable host, whatever breaks the connection', async (t) => {
  const made = await installed(t);
  const strange = await installed(t);
  await serveHost(t, strange, answer);
  const settings = await strange.zl(['status', '--json']);
  const { addresses } = JSON.parse(settings.stdout).components[0];
  for (const url of ['https://localhost:1', 'https://no-such-host.invalid:1', addresses.rpc]) {
    await made.point({ host: { url } });
    const { status, stdout, stderr } = await made.zl(['chat', 'hi']);
    assert.deepEqual([status, stdout], [3, ''], url);
    assert.match(stderr, new RegExp(`^zl: host\\.unreachable: ${url}: .+\\n {4}No host answers`));
  }
});

test('without its own authority it trusts no host, not even publicly certified ones', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, answer);
  const { caFile } = JSON.parse(await readFile(made.layout.settings, 'utf8')).host;
  await writeFile(caFile, '');
  for (const command of [['chat', 'hi'], ['devices']]) {
    const { status, stderr } = await made.zl(command);
    assert.equal(status, 1);
    assert.match(stderr, /^zl: config\.invalid: .* contains no PEM certificate/);
  }
  assert.equal(host.starts.length, 0);
});

test("prints the host's reason for a refusal, which is not unreachability", async (t) => {
  const made = await installed(t);
  await serveHost(t, made, () => {
    throw toConnectError(new ZlError('server.draining', 'this pod is shutting down'));
  });
  const { status, stderr } = await made.zl(['chat', 'hi']);
  assert.equal(status, 1);
  assert.match(stderr, /^zl: server\.draining: this pod is shutting down\n/);
});

test('a connection that breaks during a turn is reported as lost: calls may have run', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, async function* ({ after }) {
    if (after > 0) throw toConnectError(new ZlError('turn.not_found', 'no turn has this id'));
    yield say('so far');
    await new Promise((resolve) => setImmediate(resolve));
    host.cut();
    await new Promise(() => {});
  });
  const { status, stderr } = await made.zl(['chat', 'hi']);
  assert.equal(status, 3);
  assert.match(stderr, /^zl: the connection broke.*\nzl: host\.lost: .*\n {4}.*zl audit show/);
});

test('[HOST-06] a turn is read on after its connection broke, and the next one has the history', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, async function* (turn) {
    if (turn.start.text === 'then') return yield* answer(turn);
    yield say(['one ', 'two ', 'three'][turn.after] ?? '');
    if (turn.after === 2) return yield DONE;
    await new Promise((resolve) => setImmediate(resolve));
    host.cut();
    await new Promise(() => {});
  });
  const { status, stdout, stderr } = await made.zl(['chat'], { input: ['count', 'then'] });
  assert.equal(status, 0);
  assert.equal(
    stderr,
    'zl: the connection broke; the answer is read on from where it was\n'.repeat(2),
  );
  assert.match(stdout, /one.*two.*three.*you said then/s);
  assert.deepEqual(
    host.starts.map(({ stream, start }) => [stream, start.history.map(({ text }) => text)]),
    [
      [1, []],
      [3, ['count', 'one two three']],
    ],
  );
});

test('Ctrl-C cancels the turn, and the exit status says interrupted', async (t) => {
  const made = await installed(t);
  await serveHost(t, made, async function* (turn) {
    yield say('one');
    await turn.cancelled;
    yield CANCELLED;
  });
  const terminal = fakeTerminal({ cwd: made.dir });
  const running = runZl(terminal, ['chat', 'count']);
  await eventually(() => terminal.output() === 'one');
  terminal.interrupt();
  assert.deepEqual(await running, {
    status: 130,
    stdout: 'one\n  cancelled, turn t-1\n',
    stderr: '',
  });
});

test('a second Ctrl-C stops waiting for a host that ignores the first', async (t) => {
  const made = await installed(t);
  await serveHost(t, made, async function* () {
    yield say('one');
    await new Promise(() => {});
  });
  const terminal = fakeTerminal({ cwd: made.dir });
  const running = runZl(terminal, ['chat', 'count']);
  await eventually(() => terminal.output() === 'one');
  terminal.interrupt();
  terminal.interrupt();
  assert.deepEqual(await running, { status: 130, stdout: 'one', stderr: '' });
});

test('a conversation uses one stream, with one turn per line of input', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, answer);
  const { status, stdout } = await made.zl(['chat'], { input: ['one', '', 'two'] });
  assert.equal(status, 0);
  assert.deepEqual(stdout.match(/you said \w+/g), ['you said one', 'you said two']);
  assert.deepEqual(
    host.starts.map(({ stream, start }) => [stream, start.text, start.history.length]),
    [
      [1, 'one', 0],
      [1, 'two', 0],
    ],
  );
});

test('a conversation survives its stream: the next gets the history, and the failure counts', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, async function* (turn) {
    if (turn.after > 0) throw toConnectError(new ZlError('turn.not_found', 'no turn has this id'));
    if (turn.start.text === 'break') {
      yield say('half');
      await new Promise((resolve) => setImmediate(resolve));
      host.cut();
      await new Promise(() => {});
    }
    yield* answer(turn);
  });
  const input = ['one', 'break', 'three'];
  const { status, stdout, stderr } = await made.zl(['chat'], { input });
  assert.equal(status, 3);
  assert.match(stderr, /^zl: host\.lost: /m);
  assert.match(stdout, /you said three/);
  const last = host.starts.at(-1);
  assert.deepEqual([last?.stream, last?.start.sessionId], [3, 's-1']);
  assert.deepEqual(
    last?.start.history.map(({ role, text }) => [role, text]),
    [
      [Role.USER, 'one'],
      [Role.ASSISTANT, 'you said one'],
    ],
  );
});

test('the next message uses a host that has come back', async (t) => {
  const made = await installed(t);
  const probe = createServer().listen(0, 'localhost');
  await eventually(() => probe.listening);
  const { port } = probe.address() as { port: number };
  probe.close();
  await made.point({ host: { url: `https://localhost:${port}` } });
  const input = new PassThrough();
  const terminal = fakeTerminal({ cwd: made.dir, input });
  const running = runZl(terminal, ['chat']);
  input.write('one\n');
  await eventually(() => terminal.errors().includes('host.unreachable'));
  await serveHost(t, made, answer, port);
  input.end('two\n');
  const { status, stdout } = await running;
  assert.equal(status, 3);
  assert.match(stdout, /you said two/);
});

test('model output cannot control the terminal, however it is split', async (t) => {
  const made = await installed(t);
  await serveHost(t, made, () => [
    say('a\u001b'),
    say('[2Jb\u009b31mc\u001b]0;title'),
    say('\u0007'),
    {
      case: 'toolCallStarted',
      value: { callId: '1', tool: 'x\u001b[1A', argumentsJson: '"\u009b"' },
    },
    { case: 'error', value: { id: 'e\u001b[0m', message: 'm\n  ✓ fine', help: '\u0007h' } },
  ]);
  const { stdout } = await made.zl(['chat', 'hi']);
  assert.doesNotMatch(stdout, /[^\P{Cc}\n]/u);
  assert.doesNotMatch(stdout, /^ {2}✓ fine/m);
});
