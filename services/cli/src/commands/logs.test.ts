import assert from 'node:assert/strict';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { type Installed, installed, runZl } from '../../test/installed.ts';

const line = (second: number, msg: string, more: object = {}) =>
  `${JSON.stringify({ level: 'info', time: `2026-01-02T03:04:0${second}.000Z`, msg, ...more })}\n`;

async function withLogs(t: TestContext): Promise<Installed> {
  const made = await installed(t);
  await mkdir(made.layout.logs);
  await writeFile(made.layout.log('model-host'), line(1, 'one') + line(3, 'three', { port: 7 }));
  await writeFile(made.layout.log('tool-relay'), `${line(2, 'two')}not \u001b[2JJSON\n`);
  return made;
}

test('[CLI-02] logs are shown by time, each with its component and fields', async (t) => {
  const { zl } = await withLogs(t);
  const { status, stdout } = await zl(['logs']);
  assert.equal(status, 0);
  assert.deepEqual(stdout.split('\n'), [
    '03:04:01.000 model-host    info  one',
    '03:04:02.000 tool-relay    info  two',
    '03:04:02.000 tool-relay    not JSON',
    '03:04:03.000 model-host    info  three port=7',
    '',
  ]);
  const relay = await zl(['logs', 'tool-relay']);
  assert.doesNotMatch(relay.stdout, /model-host/);
  assert.equal((await zl(['logs', 'no-such'])).status, 2);
});

test('[CLI-02] the start of a program is shown in one line, without its whole status', async (t) => {
  const { layout, zl } = await withLogs(t);
  const ready = {
    ...{ event: 'ready', time: '2026-01-02T03:04:05.000Z' },
    ...{ rpc: 'https://127.0.0.1:7', device: { id: 'laptop' } },
  };
  await writeFile(layout.log('model-host'), `${JSON.stringify(ready)}\n`);
  const { stdout } = await zl(['logs', 'model-host']);
  assert.equal(stdout, '03:04:05.000 model-host    info  ready rpc=https://127.0.0.1:7\n');
});

test('[CLI-02] logs -f shows what is written later, in whole lines, until it is interrupted', async (t) => {
  const { dir, layout } = await withLogs(t);
  const terminal = fakeTerminal({ cwd: dir });
  const ran = runZl(terminal, ['logs', '-f', 'model-host']);
  await eventually(() => terminal.output().includes('three'));
  const later = line(4, 'four');
  await appendFile(layout.log('model-host'), later.slice(0, 20));
  await appendFile(layout.log('model-host'), later.slice(20));
  await eventually(() => terminal.output().includes('03:04:04.000 model-host    info  four\n'));
  // Replaced, as by a rotation.
  await writeFile(layout.log('model-host'), line(5, 'five'));
  await eventually(() => terminal.output().endsWith('info  five\n'));
  terminal.interrupt();
  assert.equal((await ran).status, 130);
});

test('[CLI-02] without a log yet, logs says so', async (t) => {
  const { zl } = await installed(t);
  const { status, stderr } = await zl(['logs']);
  assert.equal(status, 1);
  assert.match(stderr, /holds no log yet; "zl up" starts/);
});
