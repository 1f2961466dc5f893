import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { encodeFrame, FrameKind } from '@zerolatency/frame';
import { CatalogSchema, HelloSchema, HostSchema } from '@zerolatency/proto/bridge';
import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { type ConnectionRig, connectionRig, devicePublicKey } from '../../test/connection-rig.ts';
import { controlFrame } from './handshake.ts';

test('[BRG-01] a challenge is answered with the credential, a proof by the key, journal and catalog', async () => {
  const { connection, relay, log, clock } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  const [sent] = relay.socket.sent;
  assert.equal(sent!.kind, FrameKind.HELLO);
  const hello = fromBinary(HelloSchema, sent!.payload);
  assert.equal(hello.credential, 'credential');
  assert.equal(hello.bridgeVersion, '1.2.3');
  assert.deepEqual(Buffer.from(hello.journalId), Buffer.alloc(16, 9));
  assert.equal(hello.catalog?.servers[0]?.name, 'fs');
  const proof = await jwtVerify(hello.proof, devicePublicKey, {
    audience: 'relay-1',
    currentDate: new Date(clock.nowMs()),
  });
  assert.equal(proof.payload.nonce, Buffer.alloc(32, 7).toString('base64url'));
  assert.equal(decodeProtectedHeader(hello.proof).typ, 'zl-proof+jwt');
  assert.equal(decodeJwt(hello.proof).iat, clock.nowMs() / 1000);
  relay.welcomes({ epoch: 5n });
  assert.equal(connection.state.name, 'live');
  assert.deepEqual(log, ['attempt live', 'live 5']);
});

test('[BRG-01] a lost connection is redialled at the next relay, after a growing wait', async () => {
  const { connection, relay, clock, sockets, log } = connectionRig();
  connection.start();
  let waitedMs = 0;
  for (let n = 1; n <= 20; n++) {
    assert.equal(sockets.length, n);
    relay.closes(1006);
    assert.ok(connection.state.name === 'lost' && connection.state.retryInMs <= 5_000);
    waitedMs += connection.state.retryInMs;
    clock.advance(5_000);
  }
  assert.ok(waitedMs > 5_000);
  assert.deepEqual(
    sockets.slice(0, 3).map(({ url }) => url),
    ['wss://one', 'wss://two', 'wss://one'],
  );
  assert.ok(log.every((line) => line === 'attempt failed'));
});

for (const [life, act] of Object.entries({
  'carried a call': ({ relay }: ConnectionRig) => relay.says(FrameKind.CALL),
  'lasted two seconds': ({ clock }: ConnectionRig) => clock.advance(2_000),
})) {
  test(`[BRG-01] relays that die one after another are redialled soon if each ${life}`, async () => {
    const parts = connectionRig();
    const { connection, relay, clock } = parts;
    connection.start();
    for (let n = 0; n < 20; n++) {
      relay.open();
      await relay.challenges();
      relay.welcomes({ epoch: 3n, heartbeatMs: 5_000 });
      act(parts);
      relay.closes(1006);
      assert.ok(connection.state.name === 'lost' && connection.state.retryInMs <= 100);
      clock.advance(100);
    }
  });
}

test('a heartbeat longer than a day counts as a day, so that it fits a timer', async () => {
  const { connection, relay, clock } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  relay.welcomes({ epoch: 3n, heartbeatMs: 0xffff_ffff });
  clock.advance(2 * 24 * 60 * 60 * 1000);
  assert.notEqual(connection.state.name, 'live');
});

test('a second challenge on one socket is not answered', async () => {
  const { connection, relay } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  const { socket } = relay;
  await relay.challenges();
  assert.deepEqual([connection.state.name, socket.sent.length], ['lost', 1]);
  assert.equal(socket.closed, 'terminate');
});

test('[BRG-01] the bridge leaves a relay that is silent for two heartbeats, and keeps one that pings', async () => {
  const { connection, relay, clock, log, goLive } = connectionRig();
  await goLive();
  for (let n = 0; n < 10; n++) {
    clock.advance(1500);
    relay.socket.events.onSign();
  }
  assert.equal(connection.state.name, 'live');
  const { socket } = relay;
  clock.advance(2000);
  assert.notEqual(connection.state.name, 'live');
  assert.equal(socket.closed, 'terminate');
  assert.equal(log.at(2), 'lost');
});

for (const [step, act] of Object.entries({
  'does not open': () => {},
  'does not challenge': (relay: { open(): void }) => relay.open(),
})) {
  test(`a relay that ${step} in time is left`, () => {
    const { connection, relay, clock } = connectionRig();
    connection.start();
    const { socket } = relay;
    act(relay);
    clock.advance(10_000);
    assert.equal(socket.closed, 'terminate');
    assert.equal(connection.state.name, 'lost');
  });
}

test('a refused credential is not retried until something changes', async () => {
  const { connection, relay, clock, sockets, log } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  relay.closes(4401, 'device.credential_invalid');
  assert.ok(connection.state.name === 'refused');
  assert.equal(connection.state.error.id, 'device.credential_invalid');
  clock.advance(3_600_000);
  assert.equal(sockets.length, 1);
  connection.changed();
  assert.equal(connection.state.name, 'dialling');
  assert.deepEqual(log, ['attempt refused']);
});

test('an unreadable credential stops dialling until something changes', async () => {
  const { connection, relay, identify } = connectionRig();
  identify(async () => {
    throw new ZlError('device.credential_invalid', 'no such file');
  });
  connection.start();
  relay.open();
  await relay.challenges();
  assert.equal(connection.state.name, 'refused');
});

test('a credential that arrives while the old one is being refused is tried', async () => {
  const { connection, relay, clock, sockets } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  connection.changed();
  relay.closes(4401, 'device.credential_invalid');
  assert.equal(connection.state.name, 'dialling');
  assert.equal(sockets.length, 2);
  relay.open();
  await relay.challenges();
  relay.closes(4401, 'device.credential_invalid');
  clock.advance(3_600_000);
  assert.equal(connection.state.name, 'refused');
  assert.equal(sockets.length, 2);
});

test('[BRG-04] a revoked device loses its live connection and dials no more until something changes', async () => {
  const { connection, relay, clock, sockets, log, goLive } = connectionRig();
  await goLive();
  relay.closes(4403, 'device.revoked');
  assert.ok(connection.state.name === 'refused');
  assert.equal(connection.state.error.id, 'device.revoked');
  assert.equal(log.at(-1), 'lost');
  clock.advance(3_600_000);
  assert.equal(sockets.length, 1);
  connection.changed();
  assert.equal(sockets.length, 2);
});

test('[BRG-04] a relay without a revocation list is left for another one', async () => {
  const { connection, relay } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  relay.closes(1013, 'revocations.unavailable');
  assert.equal(connection.state.name, 'lost');
});

test('call frames are received and catalogs are sent only while live', async () => {
  const { connection, relay, frames, goLive } = connectionRig();
  connection.announce(create(CatalogSchema, {}));
  await goLive();
  relay.says(FrameKind.CALL);
  assert.deepEqual(
    frames.map(({ frame }) => frame.kind),
    [FrameKind.CALL],
  );
  connection.announce(create(CatalogSchema, {}));
  assert.deepEqual(
    relay.socket.sent.map(({ kind }) => kind),
    [FrameKind.HELLO, FrameKind.CATALOG],
  );
});

test('[TOOL-03] a catalog that changes between hello and welcome is sent after the welcome', async () => {
  const { connection, relay } = connectionRig();
  connection.start();
  relay.open();
  await relay.challenges();
  connection.announce(create(CatalogSchema, { servers: [{ name: 'older' }] }));
  connection.announce(create(CatalogSchema, { servers: [{ name: 'newer' }] }));
  relay.welcomes();
  const [hello, told, ...others] = relay.socket.sent;
  assert.equal(hello?.kind, FrameKind.HELLO);
  assert.equal(told?.kind, FrameKind.CATALOG);
  assert.equal(fromBinary(CatalogSchema, told.payload).servers[0]?.name, 'newer');
  assert.deepEqual(others, []);
});

test('the bridge leaves a relay that breaks the protocol', async () => {
  const { connection, relay, goLive, clock } = connectionRig();
  await goLive();
  relay.socket.events.onMessage(Buffer.from('rubbish'));
  assert.equal(connection.state.name, 'lost');
  clock.advance(5_000);
  relay.open();
  relay.says(FrameKind.CALL);
  assert.equal(connection.state.name, 'lost');
});

test('the bridge leaves a relay that reads too slowly', async () => {
  const { connection, relay, goLive } = connectionRig();
  await goLive();
  relay.socket.bufferedBytes = 1001;
  connection.announce(create(CatalogSchema, {}));
  assert.equal(connection.state.name, 'lost');
});

test('[BRG-01] ignores and reports frame kinds it does not know, before and after its welcome', async () => {
  const { connection, relay, frames, ignored, log } = connectionRig();
  connection.start();
  relay.open();
  relay.says(15 as FrameKind);
  await relay.challenges();
  relay.welcomes({ epoch: 3n, features: ['of-next-year'] });
  for (const kind of [14, 15, 47, 64, 2 ** 31]) relay.says(kind as FrameKind);
  assert.deepEqual(ignored, ['proving', 'live', 'live', 'live', 'live', 'live']);
  assert.deepEqual(frames, []);
  assert.deepEqual(log, ['attempt live', 'live 3']);
  assert.equal(connection.state.name, 'live');
});

test('[BRG-01] a frame carries the name of the host that its relay introduced', async () => {
  const { connection, relay, frames, goLive } = connectionRig();
  await goLive();
  const introduce = (number: number, name: string) =>
    relay.says(FrameKind.HOST, toBinary(HostSchema, create(HostSchema, { number, name })));
  const call = (device: number) =>
    relay.socket.events.onMessage(
      encodeFrame({ ...controlFrame(FrameKind.CALL, new Uint8Array()), device }),
    );
  introduce(1, 'pool');
  introduce(2, 'other');
  for (const number of [0, 1, 2]) call(number);
  assert.deepEqual(
    frames.map(({ host }) => host),
    ['', 'pool', 'other'],
  );
  call(3);
  assert.notEqual(connection.state.name, 'live', 'nobody introduced host 3');
});

for (const [what, number, name] of [
  ['twice', 1, 'other'],
  ['as number 0', 0, 'pool'],
  ['without a name', 2, ''],
] as const) {
  test(`the bridge leaves a relay that introduces a host ${what}`, async () => {
    const { connection, relay, goLive } = connectionRig();
    await goLive();
    for (const host of [
      { number: 1, name: 'pool' },
      { number, name },
    ]) {
      relay.says(FrameKind.HOST, toBinary(HostSchema, create(HostSchema, host)));
    }
    assert.notEqual(connection.state.name, 'live');
  });
}

test('a frame on a closed socket does not end a refusal', async () => {
  const { connection, relay, goLive } = connectionRig();
  await goLive();
  relay.closes(4401);
  relay.welcomes();
  assert.equal(connection.state.name, 'refused');
});
