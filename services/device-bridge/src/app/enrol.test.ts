import assert from 'node:assert/strict';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { createEnrolmentCode, issueDeviceCredential } from '@zerolatency/identity';
import { EnrolmentService } from '@zerolatency/proto/enrolment';
import { verifierFromPem } from '@zerolatency/signing';
import { connectProxy, makeAuthority, makeKey, tempDir } from '@zerolatency/testing';
import { enrol } from './enrol.ts';

const NEW = makeKey();

interface Changes {
  readonly manifestKey?: string;
  /** Whom the credential names, and for which key. */
  readonly tenant?: string;
  readonly deviceId?: string;
  readonly publicKey?: KeyObject;
  /** The tenant of the credential that is already there. */
  readonly earlierTenant?: string;
  /** The signed policy that the registrar gives. */
  readonly envelope?: string;
}

function credentialFor(tenant: string, deviceId: string, devicePublicKey: KeyObject) {
  return issueDeviceCredential({
    ...{ device: { tenant, deviceId }, devicePublicKey },
    ...{ issuer: 'test', issuerKey: NEW.privateKey, nowMs: Date.now(), validForMs: 60_000 },
  });
}

/** A registrar that enrols laptop of north, and a folder with an enrolled device. */
async function enrolledBefore(t: TestContext, changes: Changes = {}) {
  const { manifestKey = NEW.publicPem, envelope = 'new' } = changes;
  const { tenant = 'north', deviceId = 'laptop', earlierTenant } = changes;
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile } = await authority.server('localhost');
  const answer = async ({ deviceKeyJwk }: { readonly deviceKeyJwk: string }) => ({
    credential: await credentialFor(
      tenant,
      deviceId,
      changes.publicKey ?? createPublicKey({ key: JSON.parse(deviceKeyJwk), format: 'jwk' }),
    ),
    ...{ tenant: 'north', deviceId: 'laptop' },
    relayUrls: ['wss://relay.test/v1/device'],
    relayCaPem: authority.ca,
    policy: { envelope, publicKeysPem: [NEW.publicPem] },
    manifest: { envelope: 'new', publicKeysPem: [manifestKey] },
  });
  const server = createServer(
    { cert: readFileSync(certFile), key: readFileSync(keyFile) },
    connectNodeAdapter({ routes: (router) => router.service(EnrolmentService, { enrol: answer }) }),
  );
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const state = join(dir, 'zl-device');
  for (const name of ['policy', 'servers']) {
    mkdirSync(join(state, name, 'keys'), { recursive: true });
    writeFileSync(join(state, name, 'keys', 'old.pem'), 'old');
  }
  for (const name of ['credential.jws', 'policy/bundle.dsse.json']) {
    writeFileSync(join(state, name), 'old');
  }
  if (earlierTenant !== undefined) {
    const earlier = await credentialFor(earlierTenant, 'laptop', NEW.publicKey);
    writeFileSync(join(state, 'credential.jws'), earlier);
  }
  const { port } = server.address() as AddressInfo;
  const to = ['--registrar', `https://localhost:${port}`, '--ca', authority.caFile];
  const args = [createEnrolmentCode(), ...to, '--state', state, '--force'];
  return {
    run: (...more: string[]) => enrol([...args, ...more], { write: () => {} }, {}),
    dir,
    keysOf: (name: 'policy' | 'servers') => readdirSync(join(state, name, 'keys')),
    textOf: (file: string) => readFileSync(join(state, file), 'utf8'),
  };
}

test('[BRG-04] an answer that cannot be used leaves an enrolled device as it is', async (t) => {
  const { run, keysOf, textOf } = await enrolledBefore(t, { manifestKey: 'not a key' });
  await assert.rejects(run(), /public key PEM/);
  assert.deepEqual([keysOf('policy'), keysOf('servers')], [['old.pem'], ['old.pem']]);
  assert.deepEqual([textOf('policy/bundle.dsse.json'), textOf('credential.jws')], ['old', 'old']);
});

test('[BRG-04] another enrolment replaces the keys of an earlier authority', async (t) => {
  const { run, keysOf, textOf } = await enrolledBefore(t);
  assert.equal(await run(), 0);
  const keys = [`${verifierFromPem(NEW.publicPem).keyid}.pem`];
  assert.deepEqual([keysOf('policy'), keysOf('servers')], [keys, keys]);
  assert.equal(textOf('policy/bundle.dsse.json'), 'new');
});

test('[BRG-04] a credential for another key, device or tenant replaces nothing', async (t) => {
  for (const [changes, fault] of [
    [{ publicKey: makeKey().publicKey }, /it is for another key/],
    [{ deviceId: 'desktop' }, /for desktop of north, and not for laptop of north/],
    [{ tenant: 'south' }, /for laptop of south, and not for laptop of north/],
    [{ earlierTenant: 'south' }, /the device belongs to south/],
  ] as const) {
    const { run, keysOf, textOf } = await enrolledBefore(t, changes);
    const before = textOf('credential.jws');
    await assert.rejects(run(), { id: 'device.credential_invalid', message: fault });
    assert.equal(textOf('credential.jws'), before);
    assert.deepEqual(keysOf('policy'), ['old.pem']);
  }
  const again = await enrolledBefore(t, { earlierTenant: 'north' });
  assert.equal(await again.run(), 0);
});

test('[BRG-04] an answer that is too large is not read', async (t) => {
  const envelope = 'x'.repeat(32 * 1024 * 1024);
  const { run, textOf } = await enrolledBefore(t, { envelope });
  await assert.rejects(run(), { id: 'registrar.unreachable', message: /larger than|readMaxBytes/ });
  assert.equal(textOf('credential.jws'), 'old');
});

test('[BRG-08] a device enrols through a proxy, which its configuration then names', async (t) => {
  const proxy = await connectProxy('user:s3cret');
  t.after(() => proxy.close());
  const { run, textOf, dir } = await enrolledBefore(t);
  const file = join(dir, 'proxy-credentials');
  const through = ['--proxy', proxy.url, '--proxy-credentials', file];
  await assert.rejects(run(...through), { id: 'file.unusable' });
  writeFileSync(file, 'user:wrong');
  await assert.rejects(run(...through), { id: 'proxy.refused', message: /127\.0\.0\.1.*407/ });
  assert.equal(textOf('credential.jws'), 'old');
  writeFileSync(file, 'user:s3cret\n');
  assert.equal(await run(...through), 0);
  assert.deepEqual(proxy.counts, { opened: 1, refused: 1 });
  const settings = textOf('bridge.yaml');
  assert.deepEqual(JSON.parse(settings).relay.proxy, { url: proxy.url, credentialsFile: file });
  assert.ok(!settings.includes('s3cret'));
});
