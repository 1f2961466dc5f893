import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import { decodeJwt } from 'jose';
import { listDevices } from '../../services/cli/src/commands/devices.ts';
import { SERVICES } from '../../services/cli/src/installation/processes.ts';
import { mainOf, startSystem } from './system.ts';

const run = promisify(execFile);
const BRIDGE = ['--disable-warning=ExperimentalWarning', mainOf('device-bridge')];

test('a second machine joins', { timeout: 120_000 }, async (t) => {
  const system = await startSystem(t, { services: SERVICES });
  const { layout, settings } = system;
  // Of that machine. Its folder has nothing of the installation.
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

  await t.test('[BRG-04] with two commands and a P-256 key, and serves calls', async (t) => {
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
    const bridge = spawn(process.execPath, [...BRIDGE, '--config', config], {
      stdio: 'ignore',
      cwd,
    });
    const gone = once(bridge, 'exit');
    t.after(async () => {
      bridge.kill();
      await gone;
    });
    const isReady = async () =>
      (await listDevices(settings)).some(
        ({ deviceId, catalog }) => deviceId === 'laptop' && catalog?.servers[0]?.tools.length === 1,
      );
    await eventually(isReady, { timeoutMs: 30_000, everyMs: 100 });
    const args = ['fs.read', '{"path":"welcome.txt"}', '--device', 'laptop', '--json'];
    const called = await system.zl('call', ...args);
    assert.equal(called.status, 0, called.stdout + called.stderr);
    assert.match(called.stdout, /Welcome to Zero Latency/);
    // Receipts of both devices verify with the keys that enrolments left.
    const audit = await system.zl('audit', 'verify');
    assert.equal(audit.status, 0, audit.stdout);
  });

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
