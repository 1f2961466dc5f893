import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { X509CertificateGenerator } from '@peculiar/x509';
import { ZlError } from '@zerolatency/errors';
import { type CertFiles, FakeClock, makeAuthority, tempDir } from '@zerolatency/testing';
import type { TlsFiles, TlsMaterial } from './tls-material.ts';
import { watchTls } from './watch-tls.ts';

/** Looks only happen when the test asks. */
const NEVER_MS = 2 ** 31 - 1;
const DAY_MS = 24 * 60 * 60 * 1000;

function put(files: TlsFiles, { cert, key, ca }: TlsMaterial): void {
  for (const [file, text] of [
    [files.certFile, cert],
    [files.keyFile, key],
    [files.caFile, ca],
  ] as const) {
    writeFileSync(`${file}.next`, text);
    renameSync(`${file}.next`, file);
  }
}

async function setUp(t: TestContext) {
  const dir = tempDir(t);
  const clock = new FakeClock();
  const authority = await makeAuthority(dir, { nowMs: clock.nowMs() });
  const issue = (name: string, nowMs = clock.nowMs()) => authority.server(name, { nowMs });
  const first = await issue('first');
  const files = {
    certFile: join(dir, 'tls.crt'),
    keyFile: join(dir, 'tls.key'),
    caFile: join(dir, 'ca.crt'),
  };
  put(files, first);
  return { dir, clock, files, first, issue };
}

/** RSA of 512 bits, which no TLS library takes any more. */
async function weakPair(nowMs: number): Promise<{ cert: string; key: string }> {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 512,
    publicExponent: Uint8Array.of(1, 0, 1),
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=weak',
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(nowMs - 1000),
    notAfter: new Date(nowMs + DAY_MS),
  });
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return {
    cert: certificate.toString('pem'),
    key: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}

function startWatch(t: TestContext, files: TlsFiles, clock: FakeClock) {
  const logged: string[] = [];
  const changes: TlsMaterial[] = [];
  const note = (_: object, message: string) => logged.push(message);
  const watch = watchTls(files, {
    log: { info: note, warn: note },
    pollMs: NEVER_MS,
    nowMs: clock.nowMs,
  });
  watch.subscribe((material) => changes.push(material));
  t.after(() => watch.close());
  return { watch, logged, changes };
}

test('[OPS-05] a certificate that is renamed into place takes hold at the next look', async (t) => {
  const { clock, files, first, issue } = await setUp(t);
  const { watch, changes, logged } = startWatch(t, files, clock);
  assert.equal(watch.current().cert, first.cert);
  const second = await issue('second');
  put(files, second);
  await watch.check();
  await watch.check();
  assert.equal(watch.current().cert, second.cert);
  assert.equal(watch.current().key, second.key);
  assert.equal(changes.length, 1);
  assert.deepEqual(logged, ['certificate reloaded']);
});

test('[OPS-05] a swapped symbolic link above the files is noticed, as Kubernetes does it', async (t) => {
  const { dir, clock, first, issue } = await setUp(t);
  const second = await issue('second');
  const link = join(dir, '..data');
  const pointTo = (files: CertFiles, name: string) => {
    const target = join(dir, name);
    for (const [suffix, text] of [
      ['crt', files.cert],
      ['key', files.key],
      ['ca', files.ca],
    ]) {
      writeFileSync(`${target}.${suffix}`, text ?? '');
    }
    symlinkSync(`${name}.crt`, `${link}.next`);
    renameSync(`${link}.next`, link);
  };
  pointTo(first, 'v1');
  writeFileSync(join(dir, 'both.key'), first.key);
  const files = { certFile: link, keyFile: join(dir, 'both.key'), caFile: first.caFile };
  const { watch } = startWatch(t, files, clock);
  pointTo(second, 'v2');
  writeFileSync(join(dir, 'both.key'), second.key);
  await watch.check();
  assert.equal(watch.current().cert, second.cert);
});

test('a half-written pair is refused, reported once, and accepted when it is complete', async (t) => {
  const { clock, files, first, issue } = await setUp(t);
  const { watch, logged, changes } = startWatch(t, files, clock);
  const second = await issue('second');
  writeFileSync(files.certFile, second.cert);
  await watch.check();
  await watch.check();
  assert.equal(watch.current().cert, first.cert);
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, /not reloaded: .*tls\.key is not the key/);
  assert.equal(watch.status().status, 'degraded');
  assert.match(
    watch.status().detail,
    /^valid until .*; its newer files are refused: .*tls\.key is not/,
  );
  writeFileSync(files.keyFile, second.key);
  await watch.check();
  assert.equal(watch.current().cert, second.cert);
  assert.equal(changes.length, 1);
  assert.equal(watch.status().status, 'ok');
});

test('garbage, an empty file, a missing one and an expired pair leave the old one', async (t) => {
  const { clock, files, first, issue } = await setUp(t);
  const { watch, logged } = startWatch(t, files, clock);
  const spoil: (() => void | Promise<void>)[] = [
    () => writeFileSync(files.certFile, 'garbage'),
    () => writeFileSync(files.certFile, ''),
    () => writeFileSync(files.keyFile, 'garbage'),
    () => writeFileSync(files.caFile, ''),
    () => rmSync(files.keyFile),
    async () => put(files, await issue('old', clock.nowMs() - 400 * DAY_MS)),
  ];
  for (const [index, act] of spoil.entries()) {
    put(files, first);
    await watch.check();
    await act();
    await watch.check();
    assert.equal(watch.current().cert, first.cert);
    assert.equal(logged.length, index + 1, logged.join('\n'));
  }
});

test('a pair that OpenSSL finds too weak leaves the old one, and those who use it are not asked', async (t) => {
  const { files, first, clock } = await setUp(t);
  const { watch, logged, changes } = startWatch(t, files, clock);
  put(files, { ...(await weakPair(clock.nowMs())), ca: first.ca });
  await watch.check();
  assert.equal(watch.current().cert, first.cert);
  assert.deepEqual(changes, []);
  assert.match(logged.at(-1)!, /not reloaded: .*tls\.crt .*key too small/);
});

test('a certificate that is valid a little later takes hold then, without a new file', async (t) => {
  const { clock, files, issue } = await setUp(t);
  const { watch, logged } = startWatch(t, files, clock);
  const next = await issue('next', clock.nowMs() + DAY_MS);
  put(files, next);
  await watch.check();
  await watch.check();
  assert.match(logged.join(), /is not valid before/);
  clock.advance(DAY_MS);
  await watch.check();
  assert.equal(watch.current().cert, next.cert);
  assert.equal(logged.length, 2);
});

test('an unusable set at the start is an error that names the file', async (t) => {
  const { clock, files, first, issue } = await setUp(t);
  const start = () => startWatch(t, files, clock);
  const refused = (pattern: RegExp) => (reason: unknown) =>
    reason instanceof ZlError && reason.id === 'config.invalid' && pattern.test(reason.message);
  rmSync(files.certFile);
  assert.throws(start, refused(/cannot read .*tls\.crt/));
  put(files, { ...first, key: (await issue('other')).key });
  assert.throws(start, refused(/tls\.key is not the key of the certificate in .*tls\.crt/));
});

test('a subscriber is notified until it unsubscribes, and nothing is read after close', async (t) => {
  const { clock, files, issue } = await setUp(t);
  const { watch } = startWatch(t, files, clock);
  let heard = 0;
  const leave = watch.subscribe(() => {
    heard += 1;
  });
  put(files, await issue('second'));
  await watch.check();
  leave();
  put(files, await issue('third'));
  await watch.check();
  assert.equal(heard, 1);
  watch.close();
  const last = watch.current();
  put(files, await issue('fourth'));
  await watch.check();
  assert.equal(watch.current(), last);
});
