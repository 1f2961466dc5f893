import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { expectRevocations } from '@zerolatency/revocations';
import { tempDir } from '@zerolatency/testing';
import { parse, stringify } from 'yaml';
import { type Installed, installed } from '../../test/installed.ts';
import { createInstallation } from './create.ts';
import { type Layout, layoutOf } from './layout.ts';
import { makePool } from './pool.ts';

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

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

test('[BRG-04] only the registrar has the key that revokes, and all start from one signed list', async (t) => {
  const { layout } = await installed(t);
  await makePool(layout, 2);
  await expectRevocable(layout);
});

test('[BRG-04] a pool of before revocations gets them, and keeps the comments of its settings', async (t) => {
  const { layout } = await installed(t);
  await makePool(layout, 2);
  const { registrar, revocationKeys, relay, host } = layout;
  for (const config of [registrar, relay, layout.pod('tool-relay-2'), host].map(
    (it) => it.config,
  )) {
    const { revocations: _, ...settings } = parse(await readFile(config, 'utf8'));
    delete settings.registrar?.revocations;
    delete settings.relay?.revocations;
    await writeFile(config, `# by hand\n${stringify(settings)}`);
  }
  for (const path of [registrar.revocations, registrar.revocationKey, relay.followed.file]) {
    await rm(path);
  }
  await rm(revocationKeys, { recursive: true });
  await createInstallation(layout);
  await expectRevocable(layout);
  assert.match(await readFile(relay.config, 'utf8'), /^# by hand\n/);
  const { keyUsage } = new X509Certificate(await readFile(layout.tls('tool-relay').cert));
  assert.deepEqual(new Set(keyUsage), new Set([SERVER_AUTH, CLIENT_AUTH]));
});

/** What each program's own check of its configuration finds, and who can read the key. */
async function expectRevocable(layout: Layout): Promise<void> {
  const { registrar, relay, host, revocationKeys } = layout;
  const pod = layout.pod('tool-relay-2');
  const key = await readFile(registrar.revocationKey, 'utf8');
  assert.match(key, /PRIVATE KEY/);
  const kept = { file: registrar.revocations, keyFile: registrar.revocationKey };
  assert.deepEqual(parse(await readFile(registrar.config, 'utf8')).registrar.revocations, kept);
  const { registrar: address } = JSON.parse(await readFile(layout.settings, 'utf8'));
  const list = await readFile(registrar.revocations, 'utf8');
  for (const { config, followed } of [relay, pod, host]) {
    const settings = parse(await readFile(config, 'utf8'));
    const { revocations } = config === host.config ? settings.relay : settings;
    const expected = { ...followed, keysDir: revocationKeys, registrarUrl: address.url };
    assert.deepEqual(revocations, expected, config);
    assert.equal(await readFile(followed.file, 'utf8'), list);
    await expectRevocations(revocations, { info() {}, warn() {} });
  }
  assert.notDeepEqual(relay.followed, pod.followed);
}

test('[AUD-04] the device of an earlier installation becomes a witness, and its configuration keeps its comments', async (t) => {
  const made = await installed(t);
  const { config } = made.layout.device;
  const { witness, ...before } = parse(await readFile(config, 'utf8'));
  assert.deepEqual(witness, { hostKeysDir: made.layout.receiptKeys.host });
  await writeFile(config, `# mine\n${stringify(before)}`);
  await createInstallation(made.layout);
  const after = await readFile(config, 'utf8');
  assert.match(after, /^# mine\n/);
  assert.deepEqual(parse(after), { ...before, witness });
  assert.equal((await stat(config)).mode & 0o777, 0o600);
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
