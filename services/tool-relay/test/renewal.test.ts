import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FrameKind, RENEWAL_FEATURE } from '@zerolatency/frame';
import { signPossession, signRenewal } from '@zerolatency/identity';
import { CredentialSchema, RenewSchema } from '@zerolatency/proto/bridge';
import { eventually, makeKey, tempDir } from '@zerolatency/testing';
import { decodeJwt } from 'jose';
import { DeviceClient } from './device-client.ts';
import { openSocket } from './frame-socket.ts';
import { enrolRequest, newKey, registrarWorld } from './registrar-world.ts';
import { relayWorld } from './relay-world.ts';

/** A registrar, a relay that asks it, and a device that enrolled there. */
async function renewingWorld(t: TestContext) {
  const dir = tempDir(t);
  const key = makeKey();
  const keyFile = join(dir, 'revocations-key.pem');
  writeFileSync(keyFile, key.privatePem);
  chmodSync(keyFile, 0o600);
  const keysDir = join(dir, 'revocation-keys');
  mkdirSync(keysDir);
  writeFileSync(join(keysDir, 'one.pem'), key.publicPem);
  const revocations = { file: join(dir, 'registrar.dsse.json'), keyFile };
  const world = await registrarWorld(t, { settings: { 'registrar.revocations': revocations } });
  const {
    certFile,
    keyFile: tlsKeyFile,
    caFile,
  } = await world.authority.both('tool-relay', {
    hosts: ['localhost', '127.0.0.1'],
  });
  const { config, registrar } = world;
  const { relay, metrics } = await relayWorld(t, {
    settings: {
      tls: { certFile, keyFile: tlsKeyFile, caFile },
      'enrolment.jwksFile': config.enrolment.jwksFile,
      'enrolment.issuer': config.enrolment.issuer,
      revocations: {
        ...{ file: join(dir, 'relay.dsse.json'), keysDir, stateFile: join(dir, 'floor.json') },
        registrarUrl: registrar.rpcUrl,
      },
    },
  });
  await eventually(async () => (await fetch(`${relay.adminUrl}/readyz`)).status === 200);
  const enrol = async (deviceId: string, deviceKey = newKey()) => {
    const code = await world.invite({ deviceId });
    const audience = registrar.enrolUrl;
    const request = await enrolRequest(code, { audience, key: deviceKey });
    return { credential: (await world.stranger().enrol(request)).credential, deviceKey };
  };
  const dial = async (credential: string, deviceKey = newKey()) => {
    const client = new DeviceClient(
      openSocket(`${relay.socketUrl}/v1/device`, { ca: world.authority.ca }),
    );
    t.after(() => client.native.terminate());
    const { nonce, relayId: audience } = await client.challenge();
    const proof = await signPossession(deviceKey, { nonce, audience, nowMs: Date.now() });
    client.sendHello({ credential, proof });
    return client;
  };
  return { ...world, relayMetrics: metrics, enrol, dial };
}

function sendRenew(client: DeviceClient, credential: string, proof: string): void {
  const payload = toBinary(RenewSchema, create(RenewSchema, { credential, proof }));
  client.send({ kind: FrameKind.RENEW, payload });
}

async function answered(client: DeviceClient) {
  return fromBinary(CredentialSchema, (await client.take(FrameKind.CREDENTIAL)).payload);
}

test('[BRG-04] a device renews its credential over its socket, and connects with the new one', async (t) => {
  const { enrol, dial } = await renewingWorld(t);
  const { credential, deviceKey } = await enrol('laptop');
  const client = await dial(credential, deviceKey);
  assert.deepEqual((await client.welcome()).features, [RENEWAL_FEATURE]);
  sendRenew(client, credential, await signRenewal(deviceKey, credential));
  const renewed = await answered(client);
  assert.equal(renewed.errorId, '');
  assert.equal(decodeJwt(renewed.credential).sub, 'laptop');
  await (await dial(renewed.credential, deviceKey)).welcome();
});

test('[BRG-04] no credential is renewed without its key, for another device or after a revocation', async (t) => {
  const { enrol, dial, operator } = await renewingWorld(t);
  const [laptop, other] = [await enrol('laptop'), await enrol('other')];
  const stolen = await dial(laptop.credential);
  assert.deepEqual(await stolen.end(), { code: 4401, reason: 'device.credential_invalid' });
  const client = await dial(laptop.credential, laptop.deviceKey);
  await client.welcome();
  const ask = async (credential: string, key = newKey()) => {
    sendRenew(client, credential, await signRenewal(key, credential));
    const { credential: given, errorId } = await answered(client);
    return given === '' ? errorId : 'given';
  };
  assert.equal(await ask(laptop.credential), 'device.credential_invalid');
  // It would pass at the registrar, which does not know whose socket this is.
  assert.equal(await ask(other.credential, other.deviceKey), 'device.credential_invalid');
  await (await operator()).revoke({ tenant: 'north', deviceId: 'laptop' });
  assert.deepEqual(await client.end(), { code: 4403, reason: 'device.revoked' });
});

test('[BRG-04] a flood of renewals asks the registrar a few times, and calls of the device go on', async (t) => {
  const { enrol, dial, metrics, relayMetrics } = await renewingWorld(t);
  const { credential, deviceKey } = await enrol('laptop');
  const client = await dial(credential, deviceKey);
  await client.welcome();
  const proof = await signRenewal(deviceKey, credential);
  for (let sent = 0; sent < 500; sent++) sendRenew(client, credential, proof);
  await eventually(async () => {
    const dropped = /refused_total\{[^}]*from="device"[^}]*"limit.exceeded"[^}]*\} (\d+)/.exec(
      await relayMetrics(),
    );
    return Number(dropped?.[1]) >= 490;
  });
  const asked = await eventually(async () =>
    /zl_registrar_renewals_total\{[^}]*\} (\d+)/.exec(await metrics()),
  );
  assert.ok(Number(asked?.[1]) <= 10, `${asked?.[1]} renewals`);
  assert.equal(client.closed, undefined);
});
