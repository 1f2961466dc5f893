import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { markOf } from '@zerolatency/service/processes';
import { eventually, tempDir } from '@zerolatency/testing';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { layoutOf } from './layout.ts';
import { outdatedServices, runningPid, startService, stopService } from './processes.ts';

const SERVICE = 'tool-relay';

async function withPidFile(t: { after(fn: () => void): void }, content: string) {
  const layout = layoutOf(tempDir(t));
  await mkdir(dirname(layout.pid(SERVICE)), { recursive: true });
  await writeFile(layout.pid(SERVICE), content);
  return layout;
}

test('a truncated or ambiguous process file means that nothing runs', async (t) => {
  for (const content of ['{"pid":', '{}', '{"pid":-1,"birth":""}', '{"pid":0,"birth":""}']) {
    const layout = await withPidFile(t, content);
    assert.equal(await runningPid(layout, SERVICE), undefined, content);
  }
});

test('a process that reuses an old process id is neither found nor signalled', async (t) => {
  const layout = await withPidFile(t, JSON.stringify({ pid: process.pid, birth: '1' }));
  const signals: unknown[] = [];
  const terminal = {
    ...fakeTerminal(),
    signalProcess: (_: number, s: unknown) => void signals.push(s),
  };
  assert.equal(await runningPid(layout, SERVICE), undefined);
  const outcome = await stopService(terminal, layout, { service: SERVICE, deadlineMs: 1 });
  assert.equal(outcome, 'not running');
  assert.deepEqual(signals, []);
});

test('[CLI-01] a running service whose configuration changed since its start is outdated', async (t) => {
  const layout = await withPidFile(t, JSON.stringify(markOf(process.pid)));
  const { config } = layout.relay;
  await writeFile(config, 'settings');
  await utimes(layout.pid(SERVICE), 1000, 1000);
  await utimes(config, 999, 999);
  assert.deepEqual(await outdatedServices(layout), []);
  await utimes(config, 1001, 1001);
  assert.deepEqual(await outdatedServices(layout), [SERVICE]);
  await writeFile(layout.pid(SERVICE), '{}');
  assert.deepEqual(await outdatedServices(layout), [], 'it does not run');
});

test('finds a started service and kills it when it does not stop within the deadline', async (t) => {
  const layout = layoutOf(tempDir(t));
  // Instead of Node: takes the arguments of a service, and ignores SIGTERM.
  const nodePath = `${layout.home}/stubborn`;
  await writeFile(
    nodePath,
    '#!/bin/sh\ntrap "" TERM\necho started\nwhile :; do sleep 0.05; done\n',
    {
      mode: 0o755,
    },
  );
  const terminal = fakeTerminal({ nodePath });
  await startService(terminal, layout, { service: SERVICE });
  const pid = await runningPid(layout, SERVICE);
  assert.ok(pid !== undefined);
  await eventually(async () => (await readFile(layout.log(SERVICE), 'utf8')).includes('started'));
  assert.equal(await stopService(terminal, layout, { service: SERVICE, deadlineMs: 50 }), 'killed');
  assert.equal(await runningPid(layout, SERVICE), undefined);
  assert.equal(
    await stopService(terminal, layout, { service: SERVICE, deadlineMs: 50 }),
    'not running',
  );
});

test('gives a service that stops gracefully the time to do so', async (t) => {
  const layout = layoutOf(tempDir(t));
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await mkdir(dirname(layout.pid(SERVICE)), { recursive: true });
  await writeFile(layout.pid(SERVICE), JSON.stringify(markOf(child.pid!)));
  const outcome = await stopService(fakeTerminal(), layout, {
    service: SERVICE,
    deadlineMs: 30_000,
  });
  assert.equal(outcome, 'stopped');
});

test('reports a service that cannot be started', async (t) => {
  const layout = layoutOf(tempDir(t));
  const started = startService(fakeTerminal({ nodePath: '/no/such/node' }), layout, {
    service: SERVICE,
  });
  await assert.rejects(started, { id: 'installation.failed', message: /tool-relay.*ENOENT/ });
  assert.equal(await runningPid(layout, SERVICE), undefined);
});

/** A supervised service that prints its process id. */
async function supervised(t: TestContext) {
  const layout = layoutOf(tempDir(t));
  const main = `${layout.home}/main.ts`;
  await writeFile(
    main,
    "process.on('SIGTERM', () => process.exit(0)); console.log('pid', process.pid); setInterval(() => {}, 1000);",
  );
  const pids = async () => {
    const log = await readFile(layout.log(SERVICE), 'utf8').catch(() => '');
    return [...log.matchAll(/^pid (\d+)$/gm)].map(([, pid]) => Number(pid));
  };
  const stop = () => stopService(fakeTerminal(), layout, { service: SERVICE, deadlineMs: 30_000 });
  await startService(fakeTerminal(), layout, { service: SERVICE, main, isSupervised: true });
  t.after(stop);
  return { layout, pids, stop };
}

test('a supervised service is restarted after a crash, and stops when it is asked to', async (t) => {
  const { pids, stop } = await supervised(t);
  for (let life = 1; life <= 3; life++) {
    await eventually(async () => (await pids()).length === life);
    if (life < 3) process.kill((await pids()).at(-1)!, 'SIGKILL');
  }
  assert.equal(await stop(), 'stopped');
  assert.equal(markOf((await pids()).at(-1)!), undefined);
});

test('[BRG-02] a service whose supervisor was killed is found and stopped', async (t) => {
  const { layout, pids, stop } = await supervised(t);
  for (let life = 1; life <= 2; life++) {
    await eventually(async () => (await pids()).length === life);
    if (life < 2) process.kill((await pids()).at(-1)!, 'SIGKILL');
  }
  process.kill((await runningPid(layout, SERVICE))!, 'SIGKILL');
  await eventually(async () => (await runningPid(layout, SERVICE)) === undefined);
  const left = (await pids()).at(-1)!;
  assert.equal(markOf(left)?.pid, left);
  assert.equal(await stop(), 'stopped');
  await eventually(() => markOf(left) === undefined);
  assert.equal(await stop(), 'not running');
});

test('a supervised service that does not stop is killed with its supervisor', async (t) => {
  const layout = layoutOf(tempDir(t));
  const main = `${layout.home}/main.ts`;
  await writeFile(
    main,
    "process.on('SIGTERM', () => {}); console.log(process.pid); setInterval(() => {}, 1000);",
  );
  const started = await startService(fakeTerminal(), layout, {
    ...{ service: SERVICE, main, isSupervised: true },
  });
  await eventually(async () => (await started.said()).endsWith('\n'));
  const pid = Number(await started.said());
  t.after(() => markOf(pid) && process.kill(pid, 'SIGKILL'));
  const stop = { service: SERVICE, deadlineMs: 50 } as const;
  assert.equal(await stopService(fakeTerminal(), layout, stop), 'killed');
  await eventually(() => markOf(pid) === undefined);
});

test('[BRG-02] a supervised service that was ready and failed at once is restarted', async (t) => {
  const layout = layoutOf(tempDir(t));
  const main = `${layout.home}/main.ts`;
  await writeFile(main, "console.log('life'); process.send('ready', () => process.exit(1));");
  let pid: number | undefined;
  // The folder, with the file of its process id, is removed before later hooks run.
  t.after(() => pid !== undefined && markOf(pid) && process.kill(pid));
  await startService(fakeTerminal(), layout, { service: SERVICE, main, isSupervised: true });
  pid = await runningPid(layout, SERVICE);
  const lives = async () => (await readFile(layout.log(SERVICE), 'utf8')).match(/^life$/gm);
  await eventually(async () => ((await lives()) ?? []).length >= 3);
});

test('a supervised service that cannot start is not restarted', async (t) => {
  const layout = layoutOf(tempDir(t));
  const main = `${layout.home}/main.ts`;
  await writeFile(main, "console.error('config.invalid: no'); process.exitCode = 1;");
  const started = await startService(fakeTerminal(), layout, {
    ...{ service: SERVICE, main, isSupervised: true },
  });
  await eventually(async () => (await runningPid(layout, SERVICE)) === undefined);
  assert.equal(await started.said(), 'config.invalid: no\n');
});

test('a service whose process file cannot be written is not left running', async (t) => {
  const layout = layoutOf(tempDir(t));
  await writeFile(dirname(layout.pid(SERVICE)), '');
  const main = `${layout.home}/main.ts`;
  await writeFile(main, "console.log('pid', process.pid); setInterval(() => {}, 1000);");
  await assert.rejects(startService(fakeTerminal(), layout, { service: SERVICE, main }), {
    code: 'EEXIST',
  });
  const ours = () => spawnSync('pgrep', ['-f', main], { encoding: 'utf8' }).stdout;
  await eventually(() => ours() === '');
});
