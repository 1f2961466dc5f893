import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type CommandServer, folderDigest, SERVER_MANIFEST } from '@zerolatency/manifest';
import { POLICY_BUNDLE } from '@zerolatency/policy';
import { Effects, ServerState } from '@zerolatency/proto/bridge';
import { RelayService } from '@zerolatency/proto/relay';
import { verifyDocument } from '@zerolatency/signing';
import { serveFake } from '../../test/fake-server.ts';
import { installed } from '../../test/installed.ts';
import { readKeys } from '../input.ts';
import { changeBundle } from '../installation/change.ts';

const NODE = dirname(process.execPath);

/** An installation that does not run, and a server in a folder of its own. */
async function shop(t: TestContext) {
  const made = await installed(t);
  const folder = join(made.dir, 'notes');
  await mkdir(folder);
  await writeFile(join(folder, 'server.mjs'), '// A server.\n');
  const add = (...args: string[]) => made.zl(['tools', 'add', ...args], { env: { PATH: NODE } });
  const { layout } = made;
  const signed = async () => {
    const rules = (keys: string[]) => ({ keys, nowMs: Date.now() });
    const manifestKeys = rules(await readKeys(layout.device.manifestKeys));
    const policyKeys = rules(await readKeys(layout.policy.keys));
    const [manifest, policy] = await Promise.all([
      readFile(layout.device.manifest, 'utf8'),
      readFile(layout.policy.bundle, 'utf8'),
    ]);
    const documents = {
      manifest: verifyDocument(SERVER_MANIFEST, manifest, manifestKeys),
      bundle: verifyDocument(POLICY_BUNDLE, policy, policyKeys),
    };
    if ('error' in documents.manifest) throw documents.manifest.error;
    if ('error' in documents.bundle) throw documents.bundle.error;
    return { manifest: documents.manifest.content, bundle: documents.bundle.content };
  };
  return { ...made, folder, add, signed };
}

test('[CLI-02] tools add pins, signs and allows a server', async (t) => {
  const { add, signed, folder, dir } = await shop(t);
  await writeFile(join(dir, 'settings.json'), '{}');
  const { status, stdout, stderr } = await add(
    ...['notes', '--write', 'data', '--', 'node', 'notes/server.mjs', 'settings.json', '--port=1'],
  );
  assert.deepEqual([status, stderr], [0, '']);
  const { manifest, bundle } = await signed();
  const entry = manifest.servers.find(({ name }) => name === 'notes') as CommandServer;
  assert.equal(entry.command, process.execPath);
  const args = [join(folder, 'server.mjs'), join(dir, 'settings.json'), '--port=1'];
  assert.deepEqual(entry.args, args);
  assert.deepEqual(entry.folders, [{ path: folder, sha256: await folderDigest(folder) }]);
  assert.deepEqual(entry.grants, {
    read: [join(dir, 'settings.json')],
    write: [join(dir, 'data')],
  });
  assert.deepEqual([manifest.version, bundle.version], [2, 2]);
  const rule = bundle.rules.find(({ id }) => id === 'tools-notes');
  assert.deepEqual([rule?.effect, rule?.tools], ['allow', ['notes.*']]);
  const lines = stdout.trimEnd().split('\n');
  assert.deepEqual(lines.slice(1, 5), [
    `  pinned   ${folder}`,
    `  reads    ${join(dir, 'settings.json')}`,
    `  writes   ${join(dir, 'data')}`,
    '  network  none; --network grants it',
  ]);
  assert.equal(lines.at(-1), 'the bridge is not running; "zl up" starts it with the new server');
});

test('[CLI-02] tools add replaces a server of the same name and keeps its rule', async (t) => {
  const { add, signed, folder } = await shop(t);
  const command = ['--', 'node', join(folder, 'server.mjs')];
  await add('notes', ...command);
  await writeFile(join(folder, 'server.mjs'), '// Another one.\n');
  await add('notes', '--network', ...command);
  const { manifest, bundle } = await signed();
  const entries = manifest.servers.filter(({ name }) => name === 'notes') as CommandServer[];
  assert.deepEqual(
    entries.map(({ folders, grants }) => [folders?.[0]?.sha256, grants?.network]),
    [[await folderDigest(folder), ['*']]],
  );
  assert.equal(bundle.rules.filter(({ id }) => id === 'tools-notes').length, 1);
});

test('[CLI-02] tools add refuses what it cannot pin or find, and signs nothing', async (t) => {
  const { add, signed, folder } = await shop(t);
  const script = join(folder, 'server.mjs');
  await symlink('/', join(folder, 'root'));
  const refusals: [string[], RegExp][] = [
    [
      ['notes', '--', 'node', script],
      /cannot be pinned: .*root.*; move the server to .*--unpinned/,
    ],
    [
      ['notes', '--', 'node', '-e', '1'],
      /manifest\.invalid: .*no argument is its script; --unpinned/,
    ],
    [['notes', '--', 'none-such'], /config\.invalid: none-such is not on PATH; write the path/],
    [['notes', '--', './none-such'], /\/none-such is not an executable file/],
    [['No.tes', '--', 'node', script], /request\.invalid: No\.tes is not a server name/],
  ];
  for (const [args, message] of refusals) {
    const { status, stderr } = await add(...args);
    assert.equal(status, stderr.includes('request.invalid') ? 2 : 1);
    assert.match(stderr, message);
  }
  assert.equal((await signed()).manifest.version, 1);
  assert.equal((await add('notes', '--unpinned', '--', 'node', script)).status, 0);
  const entry = (await signed()).manifest.servers.at(-1) as CommandServer;
  assert.deepEqual([entry.unpinned, entry.folders], [true, undefined]);
});

test('[CLI-02] tools add states the effects of tools, and external is the default', async (t) => {
  const { add, signed, folder } = await shop(t);
  const command = ['--', 'node', join(folder, 'server.mjs')];
  const named = ['--effects', 'search=none', '--effects', 'save=local'];
  const { status, stdout } = await add('notes', ...named, ...command);
  assert.equal(status, 0);
  assert.match(stdout, /effects {2}search: none\n {2}effects {2}save: local\n/);
  const entryOf = async () => (await signed()).manifest.servers.at(-1) as CommandServer;
  assert.deepEqual((await entryOf()).effects, { search: 'none', save: 'local' });
  // A tool without an entry counts as external.
  await add('notes', ...command);
  assert.equal((await entryOf()).effects, undefined);
  for (const wrong of ['search', 'search=some', '=none', 'a b=none', 'search=']) {
    const refused = await add('notes', '--effects', wrong, ...command);
    assert.equal(refused.status, 2, wrong);
    assert.match(refused.stderr, /like search=none/);
  }
});

test('[CLI-02] tools remove takes a server and its rule away, and no rule of a person', async (t) => {
  const { add, signed, folder, zl, layout } = await shop(t);
  const command = ['--', 'node', join(folder, 'server.mjs')];
  await add('notes', ...command);
  const removed = await zl(['tools', 'remove', 'notes']);
  assert.equal(removed.status, 0, removed.stderr);
  assert.match(
    removed.stdout,
    /^removed notes: signed manifest local@3 and policy local@3 without it$/m,
  );
  const { manifest, bundle } = await signed();
  assert.deepEqual(
    manifest.servers.map(({ name }) => name),
    ['fs'],
  );
  assert.ok(!bundle.rules.some(({ id }) => id === 'tools-notes'));
  const again = await zl(['tools', 'remove', 'notes']);
  assert.equal(again.status, 1);
  assert.match(again.stderr, /tool\.unknown: no server notes: the manifest has fs/);
  await add('notes', ...command);
  await changeBundle(layout, (before) => ({
    ...before,
    rules: before.rules.map((rule) =>
      rule.id === 'tools-notes' ? { ...rule, roles: ['admin'] } : rule,
    ),
  }));
  const { stdout } = await zl(['tools', 'remove', 'notes']);
  assert.match(stdout, /rule tools-notes was changed and stays/);
  assert.ok((await signed()).bundle.rules.some(({ id }) => id === 'tools-notes'));
});

test('[CLI-02] tools test says of each tool what policy does, and how to call it', async (t) => {
  const made = await installed(t);
  const required = JSON.stringify({ type: 'object', required: ['path'] });
  const tools = [
    { name: 'read', inputSchemaJson: required, effects: Effects.NONE },
    { name: 'write', inputSchemaJson: '{}', effects: Effects.EXTERNAL },
  ];
  const servers = [{ name: 'fs', version: '1.0.0', state: ServerState.READY, tools }];
  const devices = [{ deviceId: 'this-machine', catalog: { servers } }];
  const relay = await serveFake(t, made.layout, {
    name: 'tool-relay',
    routes: (router) => router.service(RelayService, { listDevices: async () => ({ devices }) }),
  });
  await made.point({ relay: { url: relay.url } });
  const { status, stdout } = await made.zl(['tools', 'test', 'fs']);
  assert.equal(status, 0);
  assert.equal(
    stdout,
    `fs.read  allowed by rule developers-read-files\n  zl call fs.read '{"path":"…"}'\n` +
      `fs.write  withheld by policy: no rule allows it\n  zl call fs.write '{}'\n`,
  );
  const unknown = await made.zl(['tools', 'test', 'notes']);
  assert.equal(unknown.status, 1);
  assert.match(unknown.stderr, /tool\.unknown: no server notes: it has fs/);
});
