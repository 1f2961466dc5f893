import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { readSettings } from '../src/settings.ts';
import { installed } from './installed.ts';

function service(name: string, ...args: string[]) {
  const main = join(import.meta.dirname, `../../${name}/src/main.ts`);
  const flags = ['--disable-warning=ExperimentalWarning', main, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
  const failed = [...stdout.matchAll(/^failed {2}(\S+): (\S+): /gm)].map(([, ...words]) => words);
  return { status, stdout, stderr, failed };
}

test('[CLI-02] --check-config names each setting that a start would fail on', async (t) => {
  const { layout } = await installed(t);
  const check = {
    host: () => service('model-host', '--config', layout.host.config, '--check-config'),
    relay: () => service('tool-relay', '--config', layout.relay.config, '--check-config'),
    bridge: () => service('device-bridge', '--config', layout.device.config, '--check-config'),
  };
  for (const run of Object.values(check)) {
    const { status, stdout, stderr } = run();
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^(ok {6}\S+\n)+$/);
  }
  const { port } = new URL((await readSettings(layout.settings)).host.adminUrl);
  const server = createServer().listen(Number(port), '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  await rm(layout.tokens.jwks);
  await writeFile(layout.host.key, 'none');
  await writeFile(layout.policy.bundle, '{}');
  await writeFile(layout.tls('tool-relay').key, 'none');
  await rm(layout.device.credential);
  assert.deepEqual(check.host().failed, [
    ['admin.port', 'port.unusable'],
    ['identity.jwksFile', 'config.invalid'],
    ['policy.bundleFile', 'policy.invalid'],
    ['ledger.key', 'config.invalid'],
  ]);
  assert.deepEqual(check.relay().failed, [['tls', 'config.invalid']]);
  assert.deepEqual(check.bridge().failed, [
    ['device.credentialFile', 'device.credential_invalid'],
    ['policy.bundleFile', 'policy.invalid'],
  ]);
  assert.deepEqual([check.host().status, check.relay().status, check.bridge().status], [1, 1, 1]);
});

test('[OPS-02] --check-config names a provider that no setting configures', async (t) => {
  const { layout } = await installed(t);
  const set = [
    '--set',
    'models.aliases={"a":{"provider":"none","model":"m"}}',
    '--set',
    'models.default=a',
  ];
  const { stdout, failed } = service(
    'model-host',
    '--config',
    layout.host.config,
    ...set,
    '--check-config',
  );
  assert.deepEqual(failed, [['models', 'config.invalid']]);
  assert.match(stdout, /models\.aliases\.a\.provider names "none", which is not configured/);
});

test('[CLI-02] --help of a service prints its usage and exits with 0', () => {
  for (const name of ['model-host', 'tool-relay', 'device-bridge']) {
    const { status, stdout, stderr } = service(name, '--help');
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^usage: ${name} .*--check-config`));
    assert.equal(stdout.includes('device-bridge enrol --help'), name === 'device-bridge');
    const statuses = [...stdout.matchAll(/^ {2}(\d+) {4}/gm)].map(([, each]) => Number(each));
    assert.deepEqual(statuses, [0, 1]);
  }
});

test('[CLI-02] a mistake in the command line of a service ends it with 1 and names the mistake', (t) => {
  const none = join(tempDir(t), 'none.yaml');
  for (const name of ['model-host', 'tool-relay', 'device-bridge']) {
    for (const [args, says] of [
      [['--confg', none], /'--confg'.*usage: /s],
      [['--set', 'nothing'], /--set nothing is not a setting\nusage: /],
      [['--config', none], /none\.yaml cannot be read/],
      [['--set', 'logg.level=debug'], /logg is not a setting. Did you mean "log"/],
      [[], / is missing/],
    ] as const) {
      const { status, stdout, stderr } = service(name, ...args);
      assert.deepEqual([status, stdout], [1, ''], `${name} ${args}`);
      assert.match(stderr, says);
      assert.match(stderr, /^config\.invalid: /);
    }
  }
});
