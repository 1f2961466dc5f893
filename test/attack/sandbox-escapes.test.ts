import assert from 'node:assert/strict';
import { type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import type { CommandServer } from '@zerolatency/manifest';
import { needsBubblewrap, tempDir } from '@zerolatency/testing';
import { Containments } from '../../services/device-bridge/src/adapters/processes/containments.ts';
import { figure } from './attack.ts';
import type { Targets } from './escape-attempts.ts';

const script = join(import.meta.dirname, 'escape-attempts.ts');
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning', script] as const;
const options = needsBubblewrap();
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
/** A bridge usually runs as a person; for root the kernel looks away more often. */
const USERS = isRoot ? { root: {}, 'an ordinary user': { uid: NOBODY, gid: NOBODY } } : { us: {} };

/** A bridge's files and what else there is to reach on a device. */
async function device(t: TestContext, user: string): Promise<Targets & { readonly state: string }> {
  const home = tempDir(t);
  const [state, folder] = [join(home, 'state'), join(home, 'granted')];
  for (const path of [state, folder]) mkdirSync(path);
  for (const path of [home, state]) chmodSync(path, 0o755);
  // The temporary folder of a run is closed to other users.
  if (dirname(home) !== '/tmp') chmodSync(dirname(home), 0o711);
  chmodSync(folder, 0o777);
  const [key, guarded, link] = [join(state, 'key'), join(home, 'keys'), join(folder, 'link')];
  writeFileSync(key, 'SECRET', { mode: 0o644 });
  writeFileSync(guarded, 'keys');
  chmodSync(guarded, 0o666);
  symlinkSync(key, link);
  const sockets = [join(home, 'bus'), `\0zl-${user}-${process.pid}`];
  const listening = [...sockets, 0].map(async (place) => {
    const server = createServer((socket) => socket.end());
    server.listen(place);
    t.after(() => server.close());
    await once(server, 'listening');
    if (typeof place === 'string' && !place.startsWith('\0')) chmodSync(place, 0o777);
    return server.address();
  });
  const address = (await Promise.all(listening)).at(-1);
  assert.ok(typeof address === 'object' && address !== null);
  const outside = spawn('/bin/sleep', ['60'], {
    env: { SECRET: 'SECRET' },
    ...(user === 'an ordinary user' ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  t.after(() => outside.kill('SIGKILL'));
  return { state, key, guarded, link, folder, sockets, port: address.port, pid: outside.pid! };
}

async function attempts(command: string, args: readonly string[], as: SpawnOptions) {
  const stdio = ['ignore', 'pipe', 'pipe'] as const;
  const child = spawn(command, args, { ...as, env: {}, cwd: '/', stdio: [...stdio] });
  const [said, errors] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  assert.notEqual(said, '', errors);
  return new Set<string>(JSON.parse(said));
}

for (const [user, as] of Object.entries(USERS)) {
  test(`[BRG-02] a server of ${user} reaches nothing outside its sandbox`, options, async (t) => {
    const { state, ...targets } = await device(t, user);
    const [command, ...args] = [...NODE, JSON.stringify(targets)];
    const containments = await Containments.open({
      stateDir: state,
      hidden: [state],
      guarded: [targets.guarded],
      searchPath: process.env.PATH ?? '',
      cgroup: undefined,
      onLeft: assert.ifError,
    });
    const spec: CommandServer = {
      name: 'escapes',
      command,
      sha256: '',
      args,
      env: { allow: [], set: {} },
      sandbox: 'required',
      grants: { write: [targets.folder] },
    };
    const outside = await attempts(command, args, as);
    const started = { command, args, env: {}, code: [script] };
    const { program } = await containments.contain(spec, started);
    assert.deepEqual([...(await attempts(program.command, program.args, as))], []);
    // Else nothing above would have been an attack.
    const expected = ['the key', 'the key through a link', 'a file that the bridge goes by'];
    for (const name of [...expected, 'a process outside', 'a port of the device', 'a socket']) {
      assert.ok(outside.has(name), name);
    }
    const attack = `escapes of ${user}`;
    figure(t, { attack, name: 'reached without a sandbox', value: outside.size, unit: 'targets' });
    figure(t, { attack, name: 'reached from the sandbox', value: 0, unit: 'targets' });
  });
}

test('[BRG-02] a server cannot lead its own grants elsewhere', options, async (t) => {
  const { state, key, folder } = await device(t, 'us');
  const containments = await Containments.open({
    stateDir: state,
    hidden: [state],
    guarded: [],
    searchPath: process.env.PATH ?? '',
    cgroup: undefined,
    onLeft: assert.ifError,
  });
  const contain = (grants: CommandServer['grants']) =>
    containments.contain(
      {
        name: 's',
        command: '/bin/true',
        sha256: '',
        args: [],
        env: { allow: [], set: {} },
        grants,
      },
      { command: '/bin/true', args: [], env: {}, code: [] },
    );
  const elsewhere = tempDir(t);
  const documents = join(folder, 'documents');
  symlinkSync(elsewhere, documents);
  const refused = { id: 'manifest.invalid', message: /is a link in a folder that the server may/ };
  await assert.rejects(contain({ write: [folder], read: [documents] }), refused);
  await contain({ read: [folder, documents] });
  for (const grants of [{ read: [key] }, { write: [key] }, { write: [join(state, '..')] }]) {
    await assert.rejects(contain(grants), { id: 'manifest.invalid', message: /the bridge/ });
  }
});
