import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { CommandServer } from '@zerolatency/manifest';
import { needsBubblewrap, nodeLauncher, tempDir } from '@zerolatency/testing';
import { fixtureSpec, sha256Of } from '../../../test/manifests.ts';
import { Containments } from './containments.ts';
import { serverLauncher } from './launch-server.ts';
import { ownCgroup } from './process-tree.ts';

const options = needsBubblewrap();
const project = fileURLToPath(new URL('../../../../..', import.meta.url));
const script = join(project, 'packages/mcp/test/servers/hostile-server.ts');

interface Start {
  readonly more?: Partial<CommandServer>;
  readonly searchPath?: string;
  readonly hasCgroup?: boolean;
}

/** The attacker's own server, as a bridge starts it, over a folder with the bridge's files. */
async function start(t: TestContext, { more, searchPath, hasCgroup = true }: Start = {}) {
  const dir = tempDir(t);
  const stateDir = join(dir, 'state');
  mkdirSync(stateDir);
  const key = join(dir, 'device-key.pem');
  for (const path of [key, join(stateDir, 'calls.journal')]) writeFileSync(path, 'secret');
  const open = async () =>
    Containments.open({
      stateDir,
      hidden: [stateDir, key],
      guarded: [],
      searchPath: searchPath ?? process.env.PATH ?? '',
      cgroup: hasCgroup ? await ownCgroup() : undefined,
      onLeft: assert.ifError,
    });
  const containments = await open();
  t.after(() => containments.close());
  const launch = serverLauncher({
    environment: {},
    version: '0',
    maxResultBytes: 1024 * 1024,
    containments,
    leftovers: { started() {}, ended() {} },
    log: { debug() {}, warn() {} },
  });
  const spec: CommandServer = {
    name: 'hostile',
    command: nodeLauncher,
    sha256: sha256Of(nodeLauncher),
    args: ['--disable-warning=ExperimentalWarning', script],
    files: [{ path: script, sha256: sha256Of(script) }],
    unpinned: true,
    env: { allow: [], set: {} },
    ...more,
    grants: {
      ...more?.grants,
      read: [join(project, 'node_modules'), ...(more?.grants?.read ?? [])],
    },
  };
  const stop = new AbortController();
  const { connection, containment } = await launch(spec, {
    onStderr() {},
    onToolsChanged() {},
    signal: stop.signal,
    kill: new AbortController().signal,
  });
  t.after(async () => {
    stop.abort();
    await connection.closed;
  });
  const call = async (name: string, args: Record<string, string> = {}) => {
    const request = { name, arguments: args };
    const answer = await connection.request('tools/call', request, { timeoutMs: 20_000 });
    assert.ok('content' in answer && Array.isArray(answer.content));
    return JSON.parse(answer.content[0].text);
  };
  return { stateDir, key, connection, containment, call, open };
}

const isMarked = (mark: string) =>
  spawnSync('pgrep', ['-f', mark], { encoding: 'utf8' }).stdout.trim() !== '';

test(
  '[BRG-02] a sandboxed server sees its own processes and no file of the bridge',
  options,
  async (t) => {
    const { key, stateDir, containment, call } = await start(t, { more: { sandbox: 'required' } });
    assert.equal(containment, 'sandbox');
    const own = [
      key,
      join(stateDir, 'calls.journal'),
      `/proc/${process.pid}/environ`,
      '/etc/shadow',
    ];
    assert.deepEqual(await call('read', { paths: [script, ...own].join() }), [script]);
    assert.ok((await call('processes')).length < 8);
    assert.ok((await call('descriptors')).length < 40);
    await call('kill-parent', { pid: `${process.pid}` });
    assert.equal(await call('fine'), 'fine');
  },
);

test(
  '[BRG-02] what is granted lies where it lies outside, also behind a link',
  options,
  async (t) => {
    const data = tempDir(t);
    writeFileSync(join(data, 'a.txt'), 'a');
    const link = join(tempDir(t), 'link');
    symlinkSync(data, link);
    const inLink = join(link, 'a.txt');
    const grants = { read: [link] };
    const { call } = await start(t, { more: { sandbox: 'required', grants } });
    const seen = [join(data, 'a.txt'), inLink];
    assert.deepEqual(await call('read', { paths: seen.join() }), seen);
  },
);

test(
  '[BRG-02] a folder above the files of the bridge shows all but those, granted or code of the server',
  options,
  async (t) => {
    const above = tempDir(t);
    const stateDir = join(above, 'state');
    const keys = join(above, 'keys');
    for (const path of [stateDir, keys]) mkdirSync(path);
    const [key, journal, other] = [
      join(keys, 'key'),
      join(stateDir, 'journal'),
      join(above, 'other'),
    ];
    for (const path of [key, journal, other]) writeFileSync(path, 'content');
    const containments = await Containments.open({
      stateDir,
      hidden: [stateDir, key],
      guarded: [],
      searchPath: process.env.PATH ?? '',
      cgroup: undefined,
      onLeft: assert.ifError,
    });
    const program = { command: '/bin/cat', args: [other, key, journal], env: {}, code: [] };
    const spec: CommandServer = {
      name: 'cat',
      command: '/bin/cat',
      sha256: '',
      args: [],
      env: { allow: [], set: {} },
      grants: { read: [above] },
    };
    const asCode = { granted: { ...spec, grants: {} }, started: { ...program, code: [above] } };
    for (const { granted, started } of [{ granted: spec, started: program }, asCode]) {
      const { program: contained } = await containments.contain(granted, started);
      const run = spawnSync(contained.command, contained.args, { env: {}, encoding: 'utf8' });
      assert.equal(run.stdout, 'content');
      assert.match(run.stderr, /journal: No such file/);
    }
    const refused = [{ write: [above] }, { read: [keys] }, { read: [journal] }, { read: [key] }];
    for (const grants of refused) {
      await assert.rejects(containments.contain({ ...spec, grants }, program), {
        id: 'manifest.invalid',
        message: /the bridge/,
      });
    }
    const { program: slow } = await containments.contain(spec, {
      ...program,
      command: '/bin/sh',
      args: ['-c', 'echo started; read -r line; cat "$0"', key],
    });
    const child = spawn(slow.command, slow.args, { env: {}, stdio: 'pipe' });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    // As a credential is renewed; the kernel takes mounts on the replaced file away.
    writeFileSync(`${key}.next`, 'renewed');
    renameSync(`${key}.next`, key);
    child.stdin.end('now\n');
    assert.deepEqual(await Promise.all([text(child.stdout), text(child.stderr)]), [
      '',
      `cat: ${key}: No such file or directory\n`,
    ]);
  },
);

test(
  '[BRG-02] a sandboxed server reaches the network only when it is granted',
  options,
  async (t) => {
    const listener = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    t.after(() => listener.close());
    const address = listener.address();
    assert.ok(typeof address === 'object' && address !== null);
    const port = `${address.port}`;
    const alone = await start(t, { more: { sandbox: 'required' } });
    assert.equal(await alone.call('connect', { port }), 'refused');
    const granted = await start(t, { more: { sandbox: 'required', grants: { network: ['*'] } } });
    assert.equal(await granted.call('connect', { port }), 'connected');
  },
);

test('[BRG-02] the memory of a sandboxed process is bounded', options, async (t) => {
  const more = { sandbox: 'required', limits: { maxMemoryBytes: 2 ** 28 } } as const;
  const { call } = await start(t, { more });
  // V8 refuses the allocation, or aborts when it needs memory for itself.
  const held = await call('hog', { most: '32' }).catch((error: unknown) => {
    assert.match(String(error), /the server ended with status 13[34]/);
    return 0;
  });
  assert.ok(held < 16, `${held} times 16 MiB`);
});

test('[BRG-02] the processes of a sandbox are bounded', options, async (t) => {
  const stateDir = tempDir(t);
  const searchPath = process.env.PATH ?? '';
  const containments = await Containments.open({
    stateDir,
    hidden: [],
    guarded: [],
    searchPath,
    cgroup: undefined,
    onLeft: assert.ifError,
  });
  const args = ['-c', 'for i in $(seq 40); do sleep 5 & echo $i; done'];
  const program = { command: '/bin/sh', args, env: {}, code: [] };
  const spec: CommandServer = {
    name: 'forks',
    command: '/bin/sh',
    sha256: '',
    args,
    env: { allow: [], set: {} },
    sandbox: 'required',
    limits: { maxProcesses: 10 },
  };
  const { program: contained } = await containments.contain(spec, program);
  // The kernel does not hold root to it.
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const started = spawnSync(contained.command, contained.args, {
    env: {},
    encoding: 'utf8',
    cwd: '/',
    ...nobody,
  });
  assert.match(started.stderr, /Cannot fork|Resource temporarily unavailable/);
  const forks = started.stdout.trim().split('\n').length;
  assert.ok(forks > 1 && forks < 10, `${forks} of 40`);
});

const KINDS = {
  sandbox: { more: { sandbox: 'required' } },
  cgroup: { more: { sandbox: 'none' } },
  'process group': { more: { sandbox: 'none' }, hasCgroup: false },
} as const;

for (const [kind, how] of Object.entries(KINDS)) {
  test(`[BRG-02] SIGTERM gives a server time to end by itself (${kind})`, options, async (t) => {
    const folder = tempDir(t);
    const { more, ...rest } = { hasCgroup: true, ...how };
    const grants = { write: [folder] };
    const { call, connection, containment } = await start(t, {
      ...rest,
      more: { ...more, grants },
    });
    if (containment !== kind) return t.skip(`contained by a ${containment} here`);
    const path = join(folder, 'ended');
    await call('ends-on-sigterm', { path });
    await connection.close();
    assert.equal(readFileSync(path, 'utf8'), 'ended');
  });

  test(
    `[BRG-02] [TOOL-03] a server that exits at the greeting of 2026 starts with that of 2025 (${kind})`,
    options,
    async (t) => {
      const { name, args, files } = fixtureSpec('exits-on-discover');
      const { more, ...rest } = { hasCgroup: true, ...how };
      const { connection, containment } = await start(t, {
        ...rest,
        more: { ...more, name, args, ...(files && { files }) },
      });
      if (containment !== kind) return t.skip(`contained by a ${containment} here`);
      assert.deepEqual(
        [connection.protocolVersion, connection.serverVersion],
        ['2025-06-18', '1.2.3'],
      );
    },
  );

  test(`[BRG-02] a daemon that a server left ends with it (${kind})`, options, async (t) => {
    const mark = tempDir(t);
    const { call, connection, containment } = await start(t, how);
    if (containment !== kind) return t.skip(`contained by a ${containment} here`);
    await call('daemonise', { mark });
    assert.ok(isMarked(mark));
    await connection.close();
    assert.equal(isMarked(mark), false);
  });

  if (kind === 'sandbox') continue;
  test(
    `[BRG-02] a daemon of a killed bridge ends when the next one starts (${kind})`,
    options,
    async (t) => {
      const mark = tempDir(t);
      const { call, open, containment } = await start(t, how);
      if (containment !== kind) return t.skip(`contained by a ${containment} here`);
      await call('daemonise', { mark });
      await open();
      assert.equal(isMarked(mark), false);
    },
  );
}

for (const [what, tool] of [
  ['leaves its cgroup', 'leave-cgroup'],
  ['makes cgroups of its own', 'nest-cgroups'],
] as const) {
  test(`[BRG-02] a daemon ends with a server that ${what}, and the next bridge starts`, async (t) => {
    const mark = tempDir(t);
    const { call, connection, containment, open } = await start(t, KINDS.cgroup);
    if (containment !== 'cgroup') return t.skip(`contained by a ${containment} here`);
    assert.equal(await call(tool, { cgroup: (await ownCgroup()) ?? '' }), 'done');
    await call('daemonise', { mark });
    await connection.close();
    assert.equal(isMarked(mark), false);
    await open();
  });
}

test(
  '[BRG-02] a server that requires a sandbox does not start without one, and says what to install',
  options,
  async (t) => {
    const refused = start(t, { more: { sandbox: 'required' }, searchPath: '/nonexistent' });
    await assert.rejects(refused, {
      id: 'tool.sandbox_unavailable',
      message: /hostile requires a sandbox: bubblewrap is not installed \(apt install bubblewrap\)/,
    });
    const { containment } = await start(t, { searchPath: '/nonexistent' });
    assert.notEqual(containment, 'sandbox');
  },
);
