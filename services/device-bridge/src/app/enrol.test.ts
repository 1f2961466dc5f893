import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { createEnrolmentCode, issueDeviceCredential } from '@zerolatency/identity';
import { EnrolmentService } from '@zerolatency/proto/enrolment';
import { verifierFromPem } from '@zerolatency/signing';
import { makeAuthority, makeKey, tempDir } from '@zerolatency/testing';
import { enrol } from './enrol.ts';

const NEW = makeKey();

/** A registrar that hands out this key for the manifest, and a folder with an enrolled device. */
async function enrolledBefore(t: TestContext, manifestKey: string) {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile } = await authority.server('localhost');
  const answer = async ({ deviceKeyJwk }: { readonly deviceKeyJwk: string }) => ({
    credential: await issueDeviceCredential({
      device: { tenant: 'north', deviceId: 'laptop' },
      devicePublicKey: createPublicKey({ key: JSON.parse(deviceKeyJwk), format: 'jwk' }),
      ...{ issuer: 'test', issuerKey: NEW.privateKey, nowMs: Date.now(), validForMs: 60_000 },
    }),
    relayUrls: ['wss://relay.test/v1/device'],
    relayCaPem: authority.ca,
    policy: { envelope: 'new', publicKeysPem: [NEW.publicPem] },
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
  const { port } = server.address() as AddressInfo;
  const to = ['--registrar', `https://localhost:${port}`, '--ca', authority.caFile];
  const args = [createEnrolmentCode(), ...to, '--state', state, '--force'];
  return {
    run: () => enrol(args, { write: () => {} }),
    keysOf: (name: 'policy' | 'servers') => readdirSync(join(state, name, 'keys')),
    textOf: (file: string) => readFileSync(join(state, file), 'utf8'),
  };
}

test('[BRG-04] an answer that cannot be used leaves an enrolled device as it is', async (t) => {
  const { run, keysOf, textOf } = await enrolledBefore(t, 'not a key');
  await assert.rejects(run(), /public key PEM/);
  assert.deepEqual([keysOf('policy'), keysOf('servers')], [['old.pem'], ['old.pem']]);
  assert.deepEqual([textOf('policy/bundle.dsse.json'), textOf('credential.jws')], ['old', 'old']);
});

test('[BRG-04] another enrolment replaces the keys of an earlier authority', async (t) => {
  const { run, keysOf, textOf } = await enrolledBefore(t, NEW.publicPem);
  assert.equal(await run(), 0);
  const keys = [`${verifierFromPem(NEW.publicPem).keyid}.pem`];
  assert.deepEqual([keysOf('policy'), keysOf('servers')], [keys, keys]);
  assert.equal(textOf('policy/bundle.dsse.json'), 'new');
});
