import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import { FrameSchema } from '@zerolatency/proto/frame';
import { eventually, frameBytes, makeKey } from '@zerolatency/testing';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { RELAY_ID, relayWorld } from './relay-world.ts';

const REFUSED_CODE = { code: 4401, reason: 'device.credential_invalid' };
const MALFORMED_CODE = { code: 4400, reason: 'frame.malformed' };

for (const engine of ['uws', 'ws']) {
  const settings = { 'sockets.engine': engine };

  test(`[RLY-01] a device that proves its key gets a lease (${engine})`, async (t) => {
    const { clients, enrolment } = await relayWorld(t, { settings });
    const client = clients.dialDevice();
    await client.prove(await enrolment.device({ deviceId: 'laptop' }));
    const welcome = await client.welcome();
    assert.ok(welcome.epoch > 0n);
    assert.equal(welcome.heartbeatMs, 15_000);
    assert.equal(welcome.maxFrameBytes, 1 << 20);
  });

  test(`[RLY-01] a malformed frame ends its session and no other (${engine})`, async (t) => {
    const { clients } = await relayWorld(t, { settings });
    const other = await clients.device('other');
    const unread = clients.dialDevice();
    await unread.challenge();
    unread.sendBytes(Uint8Array.of(0xff, 0xff, 0xff));
    assert.deepEqual(await unread.end(), MALFORMED_CODE);
    const { client } = await clients.device('laptop');
    client.sendBytes(Buffer.from('not a frame'));
    assert.deepEqual(await client.end(), MALFORMED_CODE);
    assert.equal(other.client.closed, undefined);
  });

  test(`[RLY-01] a frame over the size limit and a text message end the session (${engine})`, async (t) => {
    const { clients } = await relayWorld(t, { settings });
    const large = await clients.device('large');
    large.client.sendBytes(Buffer.alloc((1 << 20) + 1));
    assert.equal((await large.client.end()).code, 1009);
    const text = await clients.device('text');
    text.client.native.send('text');
    assert.equal((await text.client.end()).code, 1003);
  });
}

test('[RLY-01] a credential that is forged, expired, unsigned or of another type is refused', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const deviceId = 'laptop';
  const good = await enrolment.device({ deviceId });
  const { kty, crv, x } = good.key.publicJwk;
  const claims = { tenant: 'north', cnf: { jwk: { kty, crv, x } }, sub: deviceId };
  const sign = (header: object, more: object = {}) =>
    new SignJWT({ ...claims, iss: enrolment.issuer, exp: Date.now() / 1000 + 60, ...more })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-device+jwt', ...header })
      .sign(enrolment.key.privateKey);
  const [, payload] = good.credential.split('.');
  const none = Buffer.from('{"alg":"none","typ":"zl-device+jwt"}').toString('base64url');
  const [head, , signature] = good.credential.split('.');
  const altered = Buffer.from(
    JSON.stringify({ ...JSON.parse(Buffer.from(payload!, 'base64url').toString()), sub: 'admin' }),
  ).toString('base64url');
  const secret = new TextEncoder().encode(JSON.stringify(enrolment.key.publicJwk));
  const hmac = await new SignJWT({ ...claims, exp: Date.now() / 1000 + 60 })
    .setProtectedHeader({ alg: 'HS256', typ: 'zl-device+jwt' })
    .sign(secret);
  const credentials = {
    forged: (await enrolment.device({ deviceId, signedBy: makeKey() })).credential,
    expired: (await enrolment.device({ deviceId, expiresInMs: -60_000 })).credential,
    none: `${none}.${payload}.`,
    altered: `${head}.${altered}.${signature}`,
    hmac,
    'another type': await sign({ typ: 'JWT' }),
    'another issuer': await sign({}, { iss: 'https://other.test' }),
    'no tenant': await sign({}, { tenant: undefined }),
    'a tenant that is no name': await sign({}, { tenant: 'a\u0000b' }),
    'no key': await sign({}, { cnf: {} }),
    'a secret key': await sign({}, { cnf: { jwk: { kty: 'oct', k: 'AAAA' } } }),
    'no expiry': await sign({}, { exp: undefined }),
    empty: '',
    garbage: 'a.b.c',
  };
  for (const [name, credential] of Object.entries(credentials)) {
    const client = clients.dialDevice();
    await client.prove(good, { credential });
    assert.deepEqual(await client.end(), REFUSED_CODE, name);
  }
});

test('[RLY-01] a proof with another key, nonce, relay or type is refused', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const device = await enrolment.device({ deviceId: 'laptop' });
  const other = await enrolment.device({ deviceId: 'laptop' });
  const proofs = {
    'another key': (nonce: Uint8Array) => other.proof({ nonce, relayId: RELAY_ID }),
    'another nonce': () => device.proof({ nonce: randomBytes(32), relayId: RELAY_ID }),
    'another relay': (nonce: Uint8Array) => device.proof({ nonce, relayId: 'relay-2' }),
    'the credential': async () => device.credential,
    nothing: async () => '',
  };
  for (const [name, makeProof] of Object.entries(proofs)) {
    const client = clients.dialDevice();
    const { nonce } = await client.challenge();
    client.sendHello({ credential: device.credential, proof: await makeProof(nonce) });
    assert.deepEqual(await client.end(), REFUSED_CODE, name);
  }
});

test('[RLY-01] a hello replayed on another socket is refused', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const device = await enrolment.device({ deviceId: 'laptop' });
  const first = clients.dialDevice();
  const { nonce, relayId } = await first.challenge();
  const proof = await device.proof({ nonce, relayId });
  first.sendHello({ credential: device.credential, proof });
  await first.welcome();
  const replayed = clients.dialDevice();
  await replayed.challenge();
  replayed.sendHello({ credential: device.credential, proof });
  assert.deepEqual(await replayed.end(), REFUSED_CODE);
  assert.equal(first.closed, undefined);
});

test('[RLY-01] frames out of order end the session', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const early = clients.dialDevice();
  await early.challenge();
  early.send({ kind: FrameKind.OUTCOME, callId: randomBytes(16) });
  assert.deepEqual(await early.end(), MALFORMED_CODE);

  const device = await enrolment.device({ deviceId: 'laptop' });
  const twice = clients.dialDevice();
  const { nonce, relayId } = await twice.challenge();
  const hello = { credential: device.credential, proof: await device.proof({ nonce, relayId }) };
  twice.sendHello(hello);
  twice.sendHello(hello);
  assert.deepEqual(await twice.end(), MALFORMED_CODE);

  const { client } = await clients.device('desktop');
  client.send({ kind: FrameKind.CALL, callId: randomBytes(16) });
  assert.deepEqual(await client.end(), MALFORMED_CODE);
});

test("[RLY-01] an offset or epoch that no host can read ends the sender's session", async (t) => {
  const { clients } = await relayWorld(t);
  for (const field of ['offset', 'epoch'] as const) {
    const { client } = await clients.device(field);
    const bytes = Uint8Array.from(frameBytes({ kind: FrameKind.DATA, callId: randomBytes(16) }));
    // The most significant byte of a little-endian fixed64.
    bytes[field === 'offset' ? 41 : 50] = 1;
    client.sendBytes(bytes);
    assert.deepEqual(await client.end(), MALFORMED_CODE);
  }
});

test('[RLY-01] accepts a hello in any valid protobuf encoding', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const device = await enrolment.device({ deviceId: 'laptop' });
  const client = clients.dialDevice();
  const canonical = client.sendBytes.bind(client);
  let payload = new Uint8Array();
  client.sendBytes = (bytes) => {
    payload = Uint8Array.from(bytes.subarray(bytes.length > 0xff ? 54 : 53));
  };
  await client.prove(device);
  client.sendBytes = canonical;
  client.sendBytes(toBinary(FrameSchema, create(FrameSchema, { payload, kind: FrameKind.HELLO })));
  await client.welcome();
});

test('[RLY-01] a catalog beyond its bounds is refused', async (t) => {
  const settings = { 'devices.maxServers': 2, 'devices.maxTools': 3, 'devices.maxCatalog': '1KiB' };
  const { clients, enrolment } = await relayWorld(t, { settings });
  const device = await enrolment.device({ deviceId: 'laptop' });
  const tools = (count: number, description = '') =>
    Array.from({ length: count }, (_, index) => ({ name: `tool${index}`, description }));
  const catalogs = [
    { servers: [{ name: 'a' }, { name: 'b' }, { name: 'c' }] },
    { servers: [{ name: 'a', tools: tools(4) }] },
    { servers: [{ name: 'a', tools: tools(1, 'x'.repeat(1024)) }] },
  ];
  for (const catalog of catalogs) {
    const client = clients.dialDevice();
    await client.prove(device, { catalog });
    assert.deepEqual(await client.end(), { code: 4429, reason: 'limit.exceeded' });
  }
  const client = await clients.live(device, { catalog: { servers: [{ name: 'a' }] } });
  const payload = toBinary(CatalogSchema, create(CatalogSchema, catalogs[0]));
  client.send({ kind: FrameKind.CATALOG, payload });
  assert.equal((await client.end()).code, 4429);
});

test('[RLY-01] a device that sends no hello in time is disconnected', async (t) => {
  const { clients } = await relayWorld(t, { settings: { 'devices.handshake': '1s' } });
  const client = clients.dialDevice();
  await client.challenge();
  assert.deepEqual(await client.end(), { code: 4408, reason: 'identity.missing' });
});

test('[RLY-01] cuts a device that misses two heartbeats, but not one that answers pings', async (t) => {
  // Longer than a busy machine keeps the living one from answering.
  const settings = { 'sockets.heartbeat': '1500ms' };
  const { clients, metrics } = await relayWorld(t, { settings });
  const alive = await clients.device('alive');
  const silent = await clients.device('silent');
  silent.client.native.pause();
  await eventually(async () => /sessions_total\{.*reason="silent".*\} 1/.test(await metrics()));
  silent.client.native.resume();
  assert.equal((await silent.client.end()).code, 1006);
  assert.equal(alive.client.closed, undefined);
});

test('a session ends when its credential expires', async (t) => {
  const { clients, enrolment } = await relayWorld(t, {
    settings: { 'sockets.heartbeat': '400ms' },
  });
  // Expired by its claim, but admitted within the clock tolerance.
  const device = await enrolment.device({ deviceId: 'laptop', expiresInMs: -28_000 });
  const client = await clients.live(device);
  assert.deepEqual(await client.end(), REFUSED_CODE);
});

test('[RLY-01] with uws a device over its rate ends only its own session', async (t) => {
  // Its engine cannot stop reading.
  const settings = { 'devices.framesPerSecond': 20, 'sockets.engine': 'uws' };
  const { clients, metrics } = await relayWorld(t, { settings });
  const quiet = await clients.device('quiet');
  const { client } = await clients.device('noisy');
  for (let i = 0; i < 200; i++) client.send({ kind: FrameKind.DATA, callId: randomBytes(16) });
  assert.deepEqual(await client.end(), { code: 4429, reason: 'limit.exceeded' });
  assert.equal(quiet.client.closed, undefined);
  assert.match(await metrics(), /zl_relay_sessions_total\{.*reason="limit".*\} 1/);
});

test('[RLY-01] bounds connections per address, and devices per tenant', async (t) => {
  const settings = {
    'devices.connectsPerAddress': 1,
    'tenants.maxDevices': 1,
  };
  const { clients, enrolment, metrics } = await relayWorld(t, { settings });
  const first = await clients.device('first');
  const { client: other } = await clients.device('other', 'south');
  const second = clients.dialDevice();
  await second.prove(await enrolment.device({ deviceId: 'second' }));
  assert.deepEqual(await second.end(), { code: 4429, reason: 'limit.exceeded' });
  assert.deepEqual([first.client.closed, other.closed], [undefined, undefined]);
  // The burst is ten, of which three are used. Each second allows one more.
  for (let i = 0; i < 7; i++) await clients.dialDevice().challenge();
  const further = Array.from({ length: 30 }, () => clients.dialDevice());
  await eventually(() => further.some(({ closed }) => closed?.code === 1006));
  assert.match(await metrics(), /zl_relay_unadmitted_total\{reason="rate".*\} [1-9]/);
});

test('[RLY-01] the oldest unproved socket makes room for a device', async (t) => {
  const settings = { 'devices.maxUnproved': 4 };
  const { clients, metrics } = await relayWorld(t, { settings });
  const strangers = [];
  for (let i = 0; i < 4; i++) {
    const stranger = clients.dialDevice();
    await stranger.challenge();
    strangers.push(stranger);
  }
  assert.equal((await strangers[0]?.end())?.code, 1006);
  const { client } = await clients.device('honest');
  assert.equal((await strangers[1]?.end())?.code, 1006);
  assert.deepEqual([client.closed, strangers[2]?.closed], [undefined, undefined]);
  assert.match(await metrics(), /zl_relay_unadmitted_total\{reason="evicted".*\} 2/);
  assert.match(await metrics(), /zl_relay_unproved_open\{.*\} 2/);
});

test('[RLY-01] arbitrary bytes from a stranger make no session live and do not stop the relay', async (t) => {
  const { clients, relay } = await relayWorld(t, {
    settings: { 'devices.connectsPerAddress': 10_000 },
  });
  const kind = fc.constantFrom(...Object.values(FrameKind).filter((k) => typeof k === 'number'));
  const frame = fc
    .record({ kind, payload: fc.uint8Array({ maxLength: 64 }), epoch: fc.nat() })
    .map((fields) => frameBytes(fields));
  const message = fc.oneof(frame, fc.uint8Array({ maxLength: 128 }));
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 5 }), async (messages) => {
      const client = clients.dialDevice();
      await client.challenge();
      for (const bytes of messages) client.sendBytes(bytes);
      const { code } = await client.end();
      assert.ok([4400, 4401, 4429].includes(code), String(code));
      assert.deepEqual(client.frames, []);
    }),
    { numRuns: 60 },
  );
  assert.equal((await fetch(`${relay.adminUrl}/readyz`)).status, 200);
});
