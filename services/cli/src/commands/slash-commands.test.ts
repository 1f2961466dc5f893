import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { DONE, type FakeTurn, say, serveHost } from '../../test/fake-host.ts';
import { type Device, serveRelay } from '../../test/fake-relay.ts';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { type Installed, installed, runZl } from '../../test/installed.ts';

const device = (deviceId: string, ...tools: readonly string[]): Device => ({
  deviceId,
  catalog: {
    servers: [
      { name: 'fs', tools: tools.map((name) => ({ name, description: `${name}s a file` })) },
    ],
  },
});
const DEVICES = [device('this-machine', 'read', 'list'), device('laptop', 'search')];
const COMPONENTS = [
  { name: 'models', status: 'ok', choices: ['mock', 'fast'] },
  { name: 'policy', status: 'ok', version: 'local@4' },
];

function* answer({ start }: FakeTurn) {
  yield say(`heard ${start.text}\n`);
  yield DONE;
}

async function serveHealth(t: TestContext, made: Installed, components: readonly object[]) {
  const server = createServer((_, response) => response.end(JSON.stringify({ components })));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  await made.point({ host: { adminUrl: `http://127.0.0.1:${port}` } });
}

/** What is printed for each line that a person types, at a terminal without colours. */
async function chatting(
  t: TestContext,
  { devices = DEVICES, components = COMPONENTS, args = [] as readonly string[] } = {},
) {
  const made = await installed(t);
  const host = await serveHost(t, made, answer);
  await serveRelay(t, made, devices);
  await serveHealth(t, made, components);
  const keyboard = Object.assign(new PassThrough(), { isTTY: true });
  const env = { TERM: 'dumb' };
  const terminal = fakeTerminal({ cwd: made.dir, input: keyboard, isTTY: true, env });
  const ended = runZl(terminal, ['chat', ...args]);
  let prompts = 0;
  const type = async (line: string) => {
    const before = terminal.output().length;
    const failed = terminal.errors().length;
    keyboard.write(`${line}\r`);
    prompts += 1;
    await eventually(() => terminal.output().split('› ').length > prompts + 1);
    const printed = terminal.output().slice(before) + terminal.errors().slice(failed);
    return printed.split('\r\n').slice(1).join('\n').replace('› ', '');
  };
  await eventually(() => terminal.output().includes('› '));
  return { host, terminal, type, ended, opening: terminal.output().split('\n')[0] };
}

test('[CLI-01] a chat opens with model, device, number of tools and policy', async (t) => {
  const { opening } = await chatting(t);
  assert.equal(opening, 'mock · this-machine · 2 tools · local@4');
});

test('[CLI-01] the opening says what is missing or not known', async (t) => {
  const openings: Record<string, Parameters<typeof chatting>[1]> = {
    'mock · this-machine is not connected · no tools · local@4': { devices: [] },
    'fast · no device · local@4': { args: ['--no-device', '--model', 'fast'] },
    'mock · laptop · 1 tool · local@4 (degraded)': {
      args: ['--device', 'laptop'],
      components: [COMPONENTS[0]!, { ...COMPONENTS[1]!, status: 'degraded' }],
    },
    "the host's default model · this-machine · 2 tools · policy unknown": { components: [] },
  };
  for (const [expected, options] of Object.entries(openings)) {
    assert.equal((await chatting(t, options)).opening, expected);
  }
});

test('[CLI-01] /tools, /model and /device show what there is, and what the next turn uses', async (t) => {
  const { type, host } = await chatting(t);
  assert.match(
    await type('/tools'),
    /^ {2}fs\.read {2}reads a file\n {2}fs\.list {2}lists a file\n/,
  );
  assert.match(await type('/model'), /^ {2}mock {2}in use\n {2}fast\n/);
  assert.match(await type('/model fast'), /^ {2}mock\n {2}fast {2}in use\n/);
  assert.match(await type('/device laptop'), /^ {2}this-machine\n {2}laptop +in use\n {2}none\n/);
  await type('hello');
  assert.match(await type('/tools'), /^ {2}fs\.search /);
  assert.match(await type('/device none'), /^ {2}this-machine\n {2}laptop\n {2}none +in use\n/);
  assert.match(await type('/tools'), /^ {2}no device, and so no tools\n/);
  await type('again');
  assert.deepEqual(
    host.starts.map(({ start, stream }) => [start.text, start.deviceId, start.model, stream]),
    [
      ['hello', 'laptop', 'fast', 1],
      ['again', '', 'fast', 1],
    ],
  );
});

test('[CLI-01] a mistyped command, model or device is not sent, and changes nothing', async (t) => {
  const { type, host } = await chatting(t);
  assert.match(await type('/tool'), /there is no command \/tool; \/help lists them/);
  assert.match(await type('/model slow'), /no model alias "slow"; the host has mock, fast/);
  assert.match(await type('/device desktop'), /device desktop is not connected/);
  await type('/etc/hosts is a path');
  assert.deepEqual(
    host.starts.map(({ start }) => [start.text, start.deviceId, start.model]),
    [['/etc/hosts is a path', 'this-machine', '']],
  );
});

test('[RED-01] names that a host, a relay or a device says cannot control the terminal', async (t) => {
  const evil = 'a\u001b[2J\u009b31m\n\u202eb';
  const { type, terminal, opening } = await chatting(t, {
    devices: [device('this-machine', evil), device(evil, evil)],
    components: [
      { name: 'models', status: 'ok', choices: [evil] },
      { name: 'policy', status: evil, version: evil },
    ],
  });
  assert.equal(opening, 'a b · this-machine · 1 tool · a b (a b)');
  for (const command of ['/tools', '/model', '/device']) assert.match(await type(command), /a b/);
  assert.doesNotMatch(terminal.output(), /\u202e|\u009b|\[2J/);
});

test('[CLI-01] /help lists every command, /why explains the last turn, /exit ends', async (t) => {
  const { type, terminal, ended } = await chatting(t);
  const help = await type('/help');
  for (const name of ['help', 'tools', 'model', 'device', 'why', 'exit']) {
    assert.match(help, new RegExp(`^ {2}/${name} `, 'm'));
  }
  assert.match(await type('/why'), /^ {2}no turn in this conversation yet\n/);
  await type('hello');
  // The fake host has no ledger, and its turns have no id of ours.
  assert.match(await type('/why'), /t-1 is not the id of a turn or call/);
  assert.match(await type('/why abcd'), /neither a turn nor a call abcd/);
  terminal.stdin.push('/exit\r');
  assert.equal((await ended).status, 0);
});

test('[CLI-01] a program is sent no commands: what it writes are messages', async (t) => {
  const made = await installed(t);
  const host = await serveHost(t, made, answer);
  await made.zl(['chat'], { input: ['/exit', 'after'] });
  assert.deepEqual(
    host.starts.map(({ start }) => start.text),
    ['/exit', 'after'],
  );
});
