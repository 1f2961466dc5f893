import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import { decodeJwt } from 'jose';
import { listDevices } from '../../services/cli/src/commands/devices.ts';
import { SERVICES } from '../../services/cli/src/installation/processes.ts';
import { probeControlSocket } from '../../services/cli/src/status/probe.ts';
import { mainOf, startSystem } from './system.ts';

const run = promisify(execFile);
const SOON = { timeoutMs: 30_000, everyMs: 100 };
const BRIDGE = ['--disable-warning=ExperimentalWarning', mainOf('device-bridge')];

test('a second machine joins', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, { services: SERVICES });
  const { layout, settings } = system;
  const bridges: { readonly bridge: ChildProcess; readonly gone: Promise<unknown> }[] = [];
  // Registered before the folder's removal, because hooks run in that order.
  t.after(async () => {
    for (const { bridge, gone } of bridges) {
      bridge.kill();
      await gone;
    }
  });
  // The second machine: its folder holds nothing of the installation.
  const cwd = tempDir(t);
  const enrol = async (code: string, ...more: string[]) => {
    const to = ['--registrar', invitation.enrolUrl, '--ca', layout.authority.cert];
    const args = [...BRIDGE, 'enrol', code, ...to, ...more];
    const ran = await run(process.execPath, args, { cwd }).catch((failed) => failed);
    return { status: ran.code ?? 0, stdout: ran.stdout, stderr: ran.stderr };
  };
  const invite = async (...more: string[]) => {
    const { stdout } = await system.zl('devices', 'invite', '--json', ...more);
    return JSON.parse(stdout);
  };
  let invitation = await invite('--device', 'laptop');
  const at = (file: string) => join(cwd, 'zl-device', file);
  const startBridge = (config: string) => {
    const bridge = spawn(process.execPath, [...BRIDGE, '--config', config], {
      stdio: 'ignore',
      cwd,
    });
    bridges.push({ bridge, gone: once(bridge, 'exit') });
  };
  const isReady = async () =>
    (await listDevices(settings)).some(
      ({ deviceId, catalog }) => deviceId === 'laptop' && catalog?.servers[0]?.tools.length === 1,
    );
  const call = () =>
    system.zl('call', 'fs.read', '{"path":"welcome.txt"}', '--device', 'laptop', '--json');

  await t.test('[BRG-04] with two commands and a P-256 key, and serves calls', async () => {
    const { status, stdout, stderr } = await enrol(invitation.code, '--key', 'p256');
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^Enrolled as laptop of local; .*\nStart it with: device-bridge --config /,
    );
    const config = /--config (.*)\n/.exec(stdout)?.[1] ?? '';
    for (const file of ['device-key.pem', 'credential.jws', 'bridge.yaml']) {
      assert.equal(statSync(at(file)).mode & 0o777, 0o600, file);
    }
    startBridge(config);
    await eventually(isReady, SOON);
    const called = await call();
    assert.equal(called.status, 0, called.stdout + called.stderr);
    assert.match(called.stdout, /Welcome to Zero Latency/);
    // Receipts of both devices verify with the keys that enrolments left.
    const audit = await system.zl('audit', 'verify');
    assert.equal(audit.status, 0, audit.stdout);
  });

  await t.test(
    '[BRG-04] a revoked device is out, and says so, until it is invited again',
    async () => {
      const revoked = await system.zl('devices', 'revoke', 'laptop');
      assert.equal(revoked.status, 0, revoked.stderr);
      const bridge = () => probeControlSocket({ name: '', address: at('state/control.sock') });
      const says = async (state: string) => {
        const { report } = await bridge();
        return report?.state === state && report;
      };
      const refused = await eventually(() => says('refused'), SOON);
      assert.equal(refused.errorId, 'device.revoked');
      await eventually(async () => !(await isReady()), SOON);
      const called = await call();
      assert.equal(called.status, 1, called.stdout);
      assert.match(called.stdout, /"id":"device\.revoked"/);
      invitation = await invite('--device', 'laptop');
      const again = await enrol(invitation.code, '--key', 'p256', '--force');
      assert.equal(again.status, 0, again.stderr);
      // The bridge that waits sees the new credential.
      await eventually(isReady, SOON);
      assert.equal((await call()).status, 0);
    },
  );

  await t.test('[BRG-04] a folder with a device is only enrolled again on demand', async () => {
    const key = readFileSync(at('device-key.pem'), 'utf8');
    const before = readFileSync(at('credential.jws'), 'utf8');
    invitation = await invite();
    const refused = await enrol(invitation.code);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /^enrolment\.exists: .*credential\.jws .*\n.*--force/);
    assert.equal(readFileSync(at('credential.jws'), 'utf8'), before);
    // The refusal has not used the code up.
    const again = await enrol(invitation.code, '--force', '--device', 'laptop');
    assert.match(again.stdout, /^Enrolled as laptop-[0-9a-f]{10} of local/, again.stderr);
    assert.equal(readFileSync(at('device-key.pem'), 'utf8'), key);
    const [old, fresh] = [before, readFileSync(at('credential.jws'), 'utf8')].map(decodeJwt);
    assert.deepEqual(fresh?.cnf, old?.cnf);
  });

  await t.test('[BRG-04] each failure says what to do', async () => {
    const elsewhere = ['--state', 'other'];
    const used = await enrol(invitation.code, ...elsewhere);
    assert.match(used.stderr, /^enrolment\.refused: .*\n.*zl devices invite/);
    const typo = await enrol(`${invitation.code}X`, ...elsewhere);
    assert.match(typo.stderr, /^enrolment\.refused: a code has 20 characters\n/);
    const { caFile } = await makeAuthority(cwd);
    const { code, enrolUrl } = await invite();
    const strange = await enrol(code, ...elsewhere, '--ca', caFile);
    assert.match(strange.stderr, /^registrar\.unreachable: .*certificate.*\n.*--ca/i);
    const nowhere = await enrol(code, ...elsewhere, '--registrar', 'https://localhost:1');
    assert.match(nowhere.stderr, /^registrar\.unreachable: .*ECONNREFUSED/);
    // Another name of the same registrar is not the one that the proof must name.
    const alias = enrolUrl.replace('localhost', '127.0.0.1');
    const misnamed = await enrol(code, ...elsewhere, '--registrar', alias);
    assert.match(
      misnamed.stderr,
      /^enrolment\.proof_invalid: the proof is not for https:.*localhost/,
    );
    const unused = await enrol(code, ...elsewhere);
    assert.equal(unused.status, 0, unused.stderr);
    assert.equal((await enrol(code, '--wrong')).status, 1);
  });
});
