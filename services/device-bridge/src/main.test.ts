import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { platform } from 'node:os';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fixtureServer } from '@zerolatency/mcp/testing';
import { eventually, needsBubblewrap, tempDir } from '@zerolatency/testing';
import { makeRig, type Rig } from '../test/bridge-rig.ts';
import { fixtureSpec, fsSpec } from '../test/manifests.ts';
import type { BridgeStatus } from './status.ts';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));

/** The bridge as the process that a person starts. */
async function startProcess(t: TestContext, rig: Rig) {
  const sets = Object.entries(rig.settings).flatMap(([name, value]) => {
    return ['--set', `${name}=${Array.isArray(value) ? JSON.stringify(value) : value}`];
  });
  const child = spawn(process.execPath, [main, ...sets], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const ready = await readyEvent(child);
  const pids = () =>
    spawnSync('ps', ['-o', 'pid=', '--ppid', `${child.pid}`], { encoding: 'utf8' })
      .stdout.trim()
      .split(/\s+/)
      .filter((pid) => pid !== '');
  return { child, exited, ready, pids, stderr: () => stderr };
}

function readyEvent({ stdout }: ChildProcess): Promise<BridgeStatus> {
  return new Promise((resolve) => {
    createInterface({ input: stdout! }).on('line', (line) => {
      const event = JSON.parse(line);
      if (event.event === 'ready') resolve(event);
    });
  });
}

const isRunning = (pid: string) => {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', pid], { encoding: 'utf8' });
  return !/^(Z.*)?$/.test(stdout.trim());
};

const linuxOnly = { skip: platform() === 'linux' ? false : 'reads /proc' };

test(
  '[BRG-05] the process says ready once, listens on no TCP port and stops cleanly',
  linuxOnly,
  async (t) => {
    const rig = await makeRig(t, { servers: (root) => [fsSpec(root)] });
    const { child, ready, exited, pids, stderr } = await startProcess(t, rig);
    assert.equal(ready.state, 'live');
    assert.deepEqual(ready.device, { id: 'laptop', tenant: 'north' });
    await rig.relay.offering('fs.read');
    const answer = await rig.host.call({ args: { path: 'hello.txt' } });
    assert.equal(answer.status, 'done');
    const servers = pids();
    assert.equal(servers.length, 1);
    for (const pid of [child.pid!, ...servers]) assert.deepEqual(listeningInodes(`${pid}`), []);
    child.kill('SIGTERM');
    assert.equal(await exited, 0);
    assert.deepEqual(servers.filter(isRunning), []);
    assert.equal(stderr(), '');
  },
);

test(
  '[BRG-01] a call that a killed bridge was running is unknown after its restart',
  linuxOnly,
  async (t) => {
    const rig = await makeRig(t, { servers: () => [fixtureSpec('hangs-on-call')] });
    const first = await startProcess(t, rig);
    await rig.relay.offering('hangs-on-call.echo');
    const pending = rig.host.start({ server: 'hangs-on-call', tool: 'echo' });
    await eventually(() => callsRunning(rig) === 1);
    const servers = first.pids();
    first.child.kill('SIGKILL');
    await first.exited;
    await eventually(() => servers.filter(isRunning).length === 0);
    const second = await startProcess(t, rig);
    assert.equal(second.ready.journal.id, first.ready.journal.id);
    const answer = await pending.answer;
    assert.deepEqual([answer.status, answer.error?.id], ['unknown', 'call.unknown_outcome']);
    assert.notEqual(answer.receipt.length, 0);
  },
);

test(
  '[BRG-02] a server that outlives a killed bridge is ended by the next one',
  linuxOnly,
  async (t) => {
    const servers = () => [fixtureSpec('ignores-sigterm', { sandbox: 'none' })];
    const rig = await makeRig(t, { servers });
    const first = await startProcess(t, rig);
    await rig.relay.offering('ignores-sigterm.echo');
    const [server] = first.pids();
    first.child.kill('SIGKILL');
    await first.exited;
    assert.equal(isRunning(server!), true);
    await startProcess(t, rig);
    await eventually(() => !isRunning(server!));
  },
);

test(
  '[BRG-02] a sandboxed server ends with a killed bridge, whatever it ignores',
  needsBubblewrap(),
  async (t) => {
    const mark = tempDir(t);
    const { args } = fixtureServer('ignores-sigterm');
    const server = fixtureSpec('ignores-sigterm', { sandbox: 'required', args: [...args, mark] });
    const rig = await makeRig(t, { servers: () => [server] });
    const { child } = await startProcess(t, rig);
    await rig.relay.offering('ignores-sigterm.echo');
    const running = () => spawnSync('pgrep', ['-f', mark], { encoding: 'utf8' }).stdout;
    assert.notEqual(running(), '');
    child.kill('SIGKILL');
    await eventually(() => running() === '');
  },
);

test('a wrong setting is named, and nothing starts', () => {
  const run = spawnSync(process.execPath, [main, '--set', 'stateDirr=x'], { encoding: 'utf8' });
  assert.equal(run.status, 1);
  assert.match(run.stderr, /^config\.invalid: /);
  assert.match(run.stderr, /stateDir/);
});

function callsRunning({ config }: Rig): number {
  const script = `
    const socket = require('node:net').connect(process.argv[1]);
    socket.pipe(process.stdout);`;
  const path = `${config.stateDir}/control.sock`;
  const { stdout } = spawnSync(process.execPath, ['-e', script, path], { encoding: 'utf8' });
  return JSON.parse(stdout).journal.running;
}

/** Inodes of the TCP sockets that a process holds and that listen. */
function listeningInodes(pid: string): string[] {
  const held = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const link = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [];
    }),
  );
  const listen = '0A';
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => columns[3] === listen && held.has(columns[9] ?? ''))
      .map((columns) => columns[9] ?? ''),
  );
}
