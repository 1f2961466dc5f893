import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { installed, runZl } from '../../test/installed.ts';

interface Finding {
  readonly hop: string;
  readonly health: string;
  readonly detail: string;
  readonly action?: string;
}

test('[CLI-02] doctor names every hop when nothing runs, and one action for each that fails', async (t) => {
  const { zl } = await installed(t);
  const { status, stdout } = await zl(['doctor', '--json']);
  assert.equal(status, 1);
  const findings: Finding[] = JSON.parse(stdout).findings;
  const health = Object.fromEntries(findings.map((each) => [each.hop, each.health]));
  assert.deepEqual(health, {
    installation: 'ok',
    dns: 'ok',
    'tls host': 'failed',
    'tls relay': 'failed',
    'tls registrar': 'failed',
    credential: 'ok',
    policy: 'ok',
    servers: 'ok',
    ledger: 'ok',
    disk: 'ok',
    proxy: 'ok',
    clock: 'warning',
    'model-host': 'failed',
    'tool-relay': 'failed',
    registrar: 'failed',
    'device-bridge': 'failed',
  });
  for (const { hop, health, action } of findings) {
    if (health !== 'ok') assert.match(action ?? '', /^Start it with "zl up"\.$/, hop);
  }
});

test('[CLI-02] doctor names what is wrong with files, and with a proxy', async (t) => {
  const { zl, layout } = await installed(t);
  await writeFile(layout.device.credential, 'none');
  await writeFile(layout.policy.bundle, '{}');
  await writeFile(layout.device.manifest, '{}');
  const { stdout } = await zl(['doctor'], { env: { HTTPS_PROXY: 'http://proxy:3128' } });
  assert.match(
    stdout,
    /^failed {3}credential {5}.*credential\.jws holds no credential .*\n {9}Restore/m,
  );
  assert.match(
    stdout,
    /^failed {3}policy {9}policy bundle refused: .*\n {9}Sign the bundle again/m,
  );
  assert.match(stdout, /^failed {3}servers {8}server manifest refused: .*\n {9}\S/m);
  assert.match(stdout, /^warning {2}proxy {10}HTTPS_PROXY is set and not used\n {9}\S/m);
});

test('[CLI-02] doctor works without an installation', async (t) => {
  const home = join(tempDir(t), '.zl');
  const { status, stdout } = await runZl(fakeTerminal(), ['--home', home, 'doctor']);
  assert.equal(status, 1);
  assert.match(
    stdout,
    /^failed {3}installation {3}no installation found: .*\n {9}Start it with "zl up"\.\n$/,
  );
});
