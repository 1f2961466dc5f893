import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallOutcome } from '@zerolatency/proto/agent';
import { type Event, serveHost } from '../../test/fake-host.ts';
import { installed } from '../../test/installed.ts';

const STARTED: Event = {
  case: 'toolCallStarted',
  value: { callId: 'c1', tool: 'fs.read', argumentsJson: '{"path":"a"}' },
};
const END: Event = { case: 'assistantDone', value: { total: { nanos: 20_000_000 } } };
const ended = (value: Extract<Event, { case: 'toolCallDone' }>['value']): Event => ({
  case: 'toolCallDone',
  value: { callId: 'c1', outcome: CallOutcome.DONE, ...value },
});

test('[CLI-02] call runs one tool and prints its result and its turn', async (t) => {
  const made = await installed(t);
  const resultJson = JSON.stringify({ content: [{ type: 'text', text: 'one\n\u202etwo' }] });
  const host = await serveHost(t, made, () => [STARTED, ended({ resultJson }), END]);
  const ran = await made.zl(['call', 'fs.read', '{"path":"a"}']);
  const lines = ['  → fs.read {"path":"a"}', '  ✓ fs.read', 'one', 'two'];
  assert.equal(ran.stdout, `${lines.join('\n')}\n  total 20.0 ms, turn t-1\n`);
  assert.deepEqual([ran.status, ran.stderr], [0, '']);
  const { tool, argumentsJson, deviceId } = host.calls[0]!;
  assert.deepEqual([tool, argumentsJson, deviceId], ['fs.read', '{"path":"a"}', 'this-machine']);
});

test('[CLI-02] call prints structured results as JSON, and one event per line with --json', async (t) => {
  const made = await installed(t);
  const resultJson = JSON.stringify({ content: [], structuredContent: { n: 1 } });
  await serveHost(t, made, () => [STARTED, ended({ resultJson }), END]);
  assert.ok((await made.zl(['call', 'a.b'])).stdout.includes('\n{\n  "n": 1\n}\n'));
  const { stdout } = await made.zl(['call', 'a.b', '--json']);
  const cases = stdout
    .trim()
    .split('\n')
    .map((line) => Object.keys(JSON.parse(line)).at(-1));
  assert.deepEqual(cases, ['toolCallStarted', 'toolCallDone', 'assistantDone']);
});

test('[CLI-02] call exits with 1 for a call that is denied, and says why', async (t) => {
  const made = await installed(t);
  const error = { id: 'policy.denied', message: 'no rule allows it', help: '' };
  const denied = ended({ outcome: CallOutcome.DENIED, error });
  await serveHost(t, made, () => [STARTED, denied, END]);
  const { status, stdout } = await made.zl(['call', 'fs.read']);
  assert.equal(status, 1);
  assert.match(stdout, /✗ fs\.read denied: no rule allows it/);
});

test('[CLI-02] call refuses arguments that are not an object before it asks the host', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, () => []);
  for (const written of ['{path: a}', '[]', '"a"', 'null']) {
    const { status, stderr } = await made.zl(['call', 'fs.read', written]);
    assert.equal(status, 2);
    assert.match(stderr, /^zl: request\.invalid: the arguments are not a JSON object/);
  }
  assert.equal(host.calls.length, 0);
  await host.close();
  assert.equal((await made.zl(['call', 'fs.read'])).status, 3);
});
