import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { installed } from '../test/installed.ts';
import { readSettings } from './settings.ts';

test('without an installation the message says how to make one', async (t) => {
  const path = join(tempDir(t), '.zl', 'zl.json');
  await assert.rejects(readSettings(path), {
    id: 'config.invalid',
    message: `no installation here: ${path} cannot be read; run "make up"`,
  });
});

test('what an installation writes is what is read, whole', async (t) => {
  const { layout } = await installed(t);
  const settings = await readSettings(layout.settings);
  assert.deepEqual(settings, JSON.parse(await readFile(layout.settings, 'utf8')));
  assert.equal(settings.bridge.controlSocket, layout.device.controlSocket);
});

test('an unknown setting is refused with the nearest name', async (t) => {
  const { layout } = await installed(t);
  const settings = JSON.parse(await readFile(layout.settings, 'utf8'));
  settings.host.caFiel = settings.host.caFile;
  await writeFile(layout.settings, JSON.stringify(settings));
  await assert.rejects(readSettings(layout.settings), {
    id: 'config.invalid',
    message: /host\.caFiel is not a setting.*caFile/s,
  });
});

test('a token from elsewhere may take the place of the local issuer', async (t) => {
  const { layout } = await installed(t);
  const settings = JSON.parse(await readFile(layout.settings, 'utf8'));
  settings.identity = { tokenFile: '/run/token', tenant: 'north' };
  await writeFile(layout.settings, JSON.stringify(settings));
  assert.deepEqual((await readSettings(layout.settings)).identity, settings.identity);
});
