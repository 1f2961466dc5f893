import assert from 'node:assert/strict';
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { type Installed, installed } from '../../test/installed.ts';
import { createInstallation } from './create.ts';
import { layoutOf } from './layout.ts';

async function filesOf({ layout }: Installed): Promise<Map<string, string>> {
  const entries = await readdir(layout.home, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
  return new Map(paths.map((path, i) => [path, texts[i] ?? '']));
}

test('only the owner can read private keys, credentials, configuration and folders', async (t) => {
  const made = await installed(t);
  const isPrivate = (path: string, text: string) =>
    text.includes('PRIVATE KEY') || /\.(yaml|jws)$|zl\.json$/.test(path);
  let privateFiles = 0;
  for (const [path, text] of await filesOf(made)) {
    const expected = isPrivate(path, text) ? 0o600 : 0o644;
    privateFiles += expected === 0o600 ? 1 : 0;
    assert.equal((await stat(path)).mode & 0o777, expected, path);
  }
  assert.ok(privateFiles >= 12, String(privateFiles));
  for (const entry of await readdir(made.layout.home, { recursive: true, withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const folder = join(entry.parentPath, entry.name);
    assert.equal((await stat(folder)).mode & 0o077, 0, folder);
  }
});

test('a second creation changes nothing', async (t) => {
  const made = await installed(t);
  const before = await filesOf(made);
  await createInstallation(made.layout);
  assert.deepEqual(await filesOf(made), before);
});

test('an installation of release 0.1 gets a registrar, which alone has the issuing key', async (t) => {
  const made = await installed(t);
  const { registrar, settings } = made.layout;
  const { registrar: _, ...before } = JSON.parse(await readFile(settings, 'utf8'));
  const key = await readFile(registrar.issuerKey, 'utf8');
  await writeFile(settings, JSON.stringify(before));
  await rename(registrar.issuerKey, registrar.earlierIssuerKey);
  await rm(registrar.config);
  await rm(made.layout.tls('registrar').cert);
  await createInstallation(made.layout);
  const files = await filesOf(made);
  assert.deepEqual(
    [...files].filter(([, text]) => text === key).map(([path]) => path),
    [registrar.issuerKey],
  );
  assert.ok(files.has(made.layout.tls('registrar').cert));
  assert.match(files.get(registrar.config) ?? '', /^role: registrar$/m);
  assert.match(JSON.parse(files.get(settings) ?? '').registrar.url, /^https:\/\/localhost:\d+$/);
  assert.deepEqual(
    { ...JSON.parse(files.get(settings) ?? ''), registrar: undefined },
    { ...before, registrar: undefined },
  );
});

test('starts an interrupted creation over', async (t) => {
  const made = await installed(t);
  await rm(made.layout.settings);
  await rm(made.layout.device.manifest);
  await createInstallation(made.layout);
  const files = await filesOf(made);
  assert.ok(files.has(made.layout.settings) && files.has(made.layout.device.manifest));
  assert.equal(
    [...files.keys()].some((path) => path.endsWith('.next')),
    false,
  );
});

test('two installations share no key, certificate or listener', async (t) => {
  const [one, other] = await Promise.all([installed(t), installed(t)]);
  const secrets = async (made: Installed) =>
    [...(await filesOf(made))].filter(([path]) => /\.(pem|jws)$|-keys\.json$/.test(path));
  const shared = new Set((await secrets(one)).map(([, text]) => text));
  for (const [path, text] of await secrets(other)) assert.equal(shared.has(text), false, path);
  assert.ok(shared.size >= 18, String(shared.size));
});

test('refuses a folder too deep for a Unix socket before it writes anything', async (t) => {
  const dir = tempDir(t);
  const layout = layoutOf(join(dir, 'x'.repeat(100), '.zl'));
  await assert.rejects(createInstallation(layout), {
    id: 'config.invalid',
    message: /control\.sock has \d+ bytes; a Unix socket path has at most 103.*--home/,
  });
  assert.deepEqual(await readdir(dir), []);
});
