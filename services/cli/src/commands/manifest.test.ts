import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileDigest, folderDigest } from '@zerolatency/manifest';
import { installed } from '../../test/installed.ts';

test('signs the file as it is, and warns about its hashes', async (t) => {
  const { zl, dir, nodePath } = await installed(t);
  const at = (name: string) => join(dir, name);
  await zl(['policy', 'keygen', '--out', at('key')]);
  const sha256 = createHash('sha256')
    .update(await readFile(nodePath))
    .digest('hex');
  const server = {
    command: nodePath,
    args: [],
    env: { allow: [], set: {} },
    grants: { network: [] },
    unpinned: true,
  };
  const manifest = {
    schema: 'zerolatency.manifest/v3',
    id: 'office',
    version: 3,
    issuedAt: '2026-01-02T03:04:05Z',
    servers: [
      { ...server, name: 'good', sha256 },
      { ...server, name: 'other', sha256: '0'.repeat(64) },
      { ...server, name: 'absent', command: '/no/such/program', sha256 },
    ],
  };
  await writeFile(at('manifest.json'), JSON.stringify(manifest));
  const sign = ['manifest', 'sign', at('manifest.json'), '--key', at('key/private.pem')];
  const signed = await zl([...sign, '--out', at('signed.json')]);
  assert.equal(signed.status, 0);
  assert.match(signed.stdout, /^signed office@3 with [0-9a-f]{16} into /);
  assert.deepEqual(
    signed.stderr.split('\n').map((line) => line.replace(/".*" (cannot|here).*/, '$1')),
    [
      'warning: server good: it is unpinned, so what it loads may change after signing',
      'warning: server other: here',
      'warning: server other: it is unpinned, so what it loads may change after signing',
      'warning: server absent: cannot',
      'warning: server absent: it is unpinned, so what it loads may change after signing',
      '',
    ],
  );
  const shown = await zl(['manifest', 'show', at('signed.json')]);
  assert.deepEqual(JSON.parse(shown.stdout), manifest);
  const verify = ['manifest', 'verify', at('signed.json'), '--keys', at('key/keys')];
  assert.equal((await zl(verify)).status, 0);
  const { valid, servers } = JSON.parse((await zl([...verify, '--json'])).stdout);
  assert.deepEqual({ valid, servers }, { valid: true, servers: ['good', 'other', 'absent'] });
});

test('[BRG-02] signing says what a sandbox keeps from a server, and which code is not pinned', async (t) => {
  const { zl, dir, nodePath } = await installed(t);
  const at = (name: string) => join(dir, name);
  const script = at('server.js');
  await writeFile(script, '');
  await zl(['policy', 'keygen', '--out', at('key')]);
  const sha256 = await fileDigest(nodePath);
  const pinned = { path: dir, sha256: await folderDigest(dir).catch(() => sha256) };
  const server = { command: nodePath, sha256, args: [script], env: { allow: [], set: {} } };
  let version = 0;
  const warnings = async (schema: string, servers: readonly object[]) => {
    version += 1;
    const head = { schema, id: 'office', version, issuedAt: '2026-01-02T03:04:05Z' };
    await writeFile(at('manifest.json'), JSON.stringify({ ...head, servers }));
    const sign = ['manifest', 'sign', at('manifest.json'), '--key', at('key/private.pem')];
    const { stderr } = await zl([...sign, '--out', at('signed.json')]);
    return stderr.split('\n').filter((line) => line !== '' && !line.includes('sha256'));
  };
  const of = (...lines: string[]) => lines.map((line) => `warning: server s: ${line}`);
  const loose = { ...server, name: 's' };
  assert.deepEqual(
    await warnings('zerolatency.manifest/v3', [loose]),
    of(
      `it will not start, because "${script}" is in no pinned folder; pin its folder in "folders", or set "unpinned"`,
      `its sandbox hides "${script}"; grant it, if it reads or writes there`,
      'its sandbox has no network; grant "network": ["*"] if it needs one, else []',
    ),
  );
  const data = { args: [script, '--data=/srv/data', '/srv/other'], folders: [pinned] };
  const grants = { read: ['/srv/data'], network: ['*'] };
  assert.deepEqual(
    await warnings('zerolatency.manifest/v3', [{ ...loose, ...data, grants }]),
    of('its sandbox hides "/srv/other"; grant it, if it reads or writes there'),
  );
  assert.deepEqual(
    await warnings('zerolatency.manifest/v3', [{ ...loose, unpinned: true, sandbox: 'none' }]),
    of(
      'it is unpinned, so what it loads may change after signing',
      'it runs without a sandbox and can do what the user can',
    ),
  );
  const old = 'implies neither sandboxes nor pinned imports';
  assert.match((await warnings('zerolatency.manifest/v2', [loose])).join('\n'), new RegExp(old));
});

test('the manifest of the installation verifies, and an altered or incomplete one does not', async (t) => {
  const { zl, dir, layout } = await installed(t);
  const own = await zl(['manifest', 'verify']);
  assert.equal(own.status, 0, own.stderr);
  assert.match(own.stdout, /^local@1 is valid\n.* server {2}fs: {"builtin":"fs","roots":\[/s);
  const envelope = JSON.parse(await readFile(layout.device.manifest, 'utf8'));
  envelope.payload = envelope.payload.replace(/^./, 'f');
  await writeFile(layout.device.manifest, JSON.stringify(envelope));
  const altered = await zl(['manifest', 'verify', '--json']);
  assert.equal(altered.status, 1);
  assert.equal(JSON.parse(altered.stdout).error.id, 'manifest.invalid');
  await writeFile(join(dir, 'm.json'), JSON.stringify({ schema: 'zerolatency.manifest/v3' }));
  const sign = ['manifest', 'sign', join(dir, 'm.json'), '--key', layout.manifestKey];
  const incomplete = await zl([...sign, '--out', join(dir, 'out.json')]);
  assert.equal(incomplete.status, 1);
  assert.match(incomplete.stderr, /^zl: manifest\.invalid: not a server manifest: /);
});

test('the content of a manifest cannot control the terminal', async (t) => {
  const { zl, dir } = await installed(t);
  const at = (name: string) => join(dir, name);
  await zl(['policy', 'keygen', '--out', at('key')]);
  const server = {
    name: 's',
    command: '/\u009b2Jx\u202e',
    args: ['\u009b31m'],
    sha256: '0'.repeat(64),
  };
  const manifest = {
    schema: 'zerolatency.manifest/v3',
    id: 'office',
    version: 1,
    issuedAt: '2026-01-02T03:04:05Z',
    servers: [{ ...server, env: { allow: [], set: {} } }],
  };
  await writeFile(at('manifest.json'), JSON.stringify(manifest));
  const sign = ['manifest', 'sign', at('manifest.json'), '--key', at('key/private.pem')];
  const signed = await zl([...sign, '--out', at('signed.json')]);
  const verify = ['manifest', 'verify', at('signed.json'), '--keys', at('key/keys')];
  for (const { status, stdout, stderr } of [signed, await zl(verify)]) {
    assert.equal(status, 0, stderr);
    assert.doesNotMatch((stdout + stderr).replaceAll('\n', ''), /[\p{Cc}\p{Bidi_C}]/u);
  }
});

test('signing replaces only regular files', async (t) => {
  const { zl, dir, layout } = await installed(t);
  const folder = join(dir, 'folder');
  await mkdir(folder);
  const sign = ['policy', 'sign', layout.policy.bundle, '--key', layout.policy.key];
  const signed = await zl([...sign, '--out', folder]);
  assert.equal(signed.status, 1);
  assert.match(signed.stderr, /^zl: config\.invalid: .*folder is not a regular file/);
  assert.ok(!(await readdir(dir)).includes('folder.next'));
});

test('hashes files and folders as a manifest pins them', async (t) => {
  const { zl, dir } = await installed(t);
  const folder = join(dir, 'program');
  await mkdir(folder);
  await writeFile(join(folder, 'server.js'), 'run();');
  const { status, stdout } = await zl(['manifest', 'hash', folder, join(folder, 'server.js')]);
  assert.equal(status, 0);
  const file = createHash('sha256').update('run();').digest('hex');
  const whole = await folderDigest(folder);
  assert.equal(stdout, `${whole}  ${folder}\n${file}  ${join(folder, 'server.js')}\n`);
  for (const path of [join(dir, 'none'), '/dev/null']) {
    const { stderr } = await zl(['manifest', 'hash', path]);
    assert.match(stderr, /^zl: config\.invalid: .*; name /);
  }
});
