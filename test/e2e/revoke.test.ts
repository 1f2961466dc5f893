import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeKey, tempDir } from '@zerolatency/testing';
import { revoke } from '../../services/cli/src/commands/devices.ts';
import type { Settings } from '../../services/cli/src/settings.ts';
import { fakeTerminal } from '../../services/cli/test/fake-terminal.ts';
import { registrarWorld } from '../../services/tool-relay/test/registrar-world.ts';

test('[BRG-04] zl devices revoke says what it did, when it holds, and how to let the device in again', async (t) => {
  const dir = tempDir(t);
  const keyFile = join(dir, 'key.pem');
  writeFileSync(keyFile, makeKey().privatePem);
  chmodSync(keyFile, 0o600);
  const revocations = { file: join(dir, 'list.json'), keyFile };
  const { authority, registrar, logLines } = await registrarWorld(t, {
    settings: { 'registrar.revocations': revocations },
  });
  const operator = await authority.client('operator');
  const address = { ...operator, url: registrar.rpcUrl, adminUrl: registrar.adminUrl };
  const settings: Settings = {
    ...{ host: address, relay: address, registrar: address },
    bridge: { controlSocket: '' },
    identity: { tokenFile: '', tenant: 'north' },
    deviceId: 'desktop',
  };
  const terminal = fakeTerminal();
  assert.equal(await revoke(terminal, settings, { device: 'laptop', offline: true }), 0);
  assert.match(terminal.output(), /^Revoked laptop: .*\(list version 2\)/);
  assert.match(terminal.output(), /within 5 s/);
  assert.match(terminal.output(), /zl devices invite --device laptop/);
  assert.ok(logLines.some((line) => line.includes('device revoked')));
  const json = fakeTerminal();
  await revoke(json, settings, { device: 'laptop', offline: true, json: true });
  assert.equal(JSON.parse(json.output()).version, 3);
});
