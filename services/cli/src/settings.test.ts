import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { installed } from '../test/installed.ts';
import { readSettings } from './settings.ts';

test('without an installation the message says how to create one', async (t) => {
  const path = join(tempDir(t), '.zl', 'zl.json');
  await assert.rejects(readSettings(path), {
    id: 'config.invalid',
    message: `no installation found: cannot read ${path}; run "make up"`,
  });
});

test('reads back every setting that an installation writes', async (t) => {
  const { layout } = await installed(t);
  const settings = await readSettings(layout.settings);
  assert.deepEqual(settings, JSON.parse(await readFile(layout.settings, 'utf8')));
  assert.equal(settings.bridge.controlSocket, layout.device.controlSocket);
});

test('refuses an unknown setting and suggests the nearest name', async (t) => {
  const { layout } = await installed(t);
  const settings = JSON.parse(await readFile(layout.settings, 'utf8'));
  settings.host.caFiel = settings.host.caFile;
  await writeFile(layout.settings, JSON.stringify(settings));
  await assert.rejects(readSettings(layout.settings), {
    id: 'config.invalid',
    message: /host\.caFiel is not a setting.*caFile/s,
  });
});

test('a token file can replace the local issuer', async (t) => {
  const { layout } = await installed(t);
  const settings = JSON.parse(await readFile(layout.settings, 'utf8'));
  settings.identity = { tokenFile: '/run/token', tenant: 'north' };
  await writeFile(layout.settings, JSON.stringify(settings));
  assert.deepEqual((await readSettings(layout.settings)).identity, settings.identity);
});
