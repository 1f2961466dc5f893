import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { CANCELLED, DONE, say, serveHost } from './fake-host.ts';
import { type Installed, installed } from './installed.ts';

/** A busy machine takes many seconds to start a program. */
const PATIENT = { timeoutMs: 60_000 };

/** The program itself, as a shell starts it. */
function start(t: TestContext, { layout }: Installed, args: readonly string[]) {
  const zl = join(import.meta.dirname, '../../../zl');
  const child = spawn(zl, ['--home', layout.home, ...args]);
  t.after(() => child.kill('SIGKILL'));
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => {
    said.stdout += data;
  });
  child.stderr.on('data', (data) => {
    said.stderr += data;
  });
  const ended = once(child, 'close').then(([status, signal]) => ({ status, signal }));
  return { child, said, ended };
}

test('[CLI-01] SIGINT cancels the turn on the host, and the program exits with 130', async (t) => {
  const made = await installed(t);
  let sawCancel = false;
  await serveHost(t, made, async function* (turn) {
    yield say('one');
    await turn.cancelled;
    sawCancel = true;
    yield CANCELLED;
  });
  const { child, said, ended } = start(t, made, ['chat', 'count']);
  await eventually(() => said.stdout === 'one', PATIENT);
  child.kill('SIGINT');
  assert.deepEqual(await ended, { status: 130, signal: null });
  assert.deepEqual([said.stdout, said.stderr], ['one\n  cancelled, turn t-1\n', '']);
  assert.equal(sawCancel, true);
});

test('in a conversation SIGINT cancels the turn, and the next line starts another', async (t) => {
  const made = await installed(t);
  await serveHost(t, made, async function* (turn) {
    yield say(`you said ${turn.start.text}`);
    if (turn.start.text === 'wait') {
      await turn.cancelled;
      yield CANCELLED;
    } else yield DONE;
  });
  const { child, said, ended } = start(t, made, ['chat']);
  child.stdin.write('wait\n');
  await eventually(() => said.stdout === 'you said wait', PATIENT);
  child.kill('SIGINT');
  await eventually(() => said.stdout.includes('cancelled'), PATIENT);
  child.stdin.end('go on\n');
  assert.deepEqual(await ended, { status: 130, signal: null });
  assert.match(said.stdout, /you said go on\n/);
});

test('exits silently when the reader of its output closes', async (t) => {
  const made = await installed(t);
  await serveHost(t, made, async function* () {
    for (;;) {
      yield say('still talking\n');
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  const { child, said, ended } = start(t, made, ['chat', 'talk']);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  assert.deepEqual(await ended, { status: 141, signal: null });
  assert.equal(said.stderr, '');
});

test('keeps its exit status when nobody reads stderr', async (t) => {
  const { child, ended } = start(t, await installed(t), ['no-such-command']);
  child.stderr.destroy();
  assert.deepEqual(await ended, { status: 2, signal: null });
});
