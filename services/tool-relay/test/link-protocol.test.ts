import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { signPeerToken } from '@zerolatency/identity';
import { FrameSchema } from '@zerolatency/proto/frame';
import { RelayService } from '@zerolatency/proto/relay';
import { eventually, frameBytes, makeAuthority } from '@zerolatency/testing';
import { hostAndDevice, relayWorld, sendCall } from './relay-world.ts';

test('[RLY-01] a frame that a host may not send ends its link', async (t) => {
  const { clients, device } = await hostAndDevice(t);
  const malformed = { code: 4400, reason: 'frame.malformed' };
  const messages = {
    'no frame': Uint8Array.of(0xff),
    'a device frame': frameBytes({ kind: FrameKind.OUTCOME }),
    'handle 0': frameBytes({ kind: FrameKind.OPEN }),
    'an OPEN that cannot be read': frameBytes({
      kind: FrameKind.OPEN,
      device: 1,
      payload: Uint8Array.of(0xff),
    }),
  };
  for (const [name, bytes] of Object.entries(messages)) {
    const host = await clients.host();
    host.sendBytes(bytes);
    assert.deepEqual(await host.end(), malformed, name);
  }
  const twice = await clients.host();
  await twice.open('north', 'laptop');
  twice.sendBytes(frameBytes({ kind: FrameKind.OPEN, device: 1 }));
  assert.deepEqual(await twice.end(), malformed);
  assert.equal(device.closed, undefined);
});

test('[RLY-01] a link needs an unused token of an allowed host', async (t) => {
  const { clients, authority, dir, relay } = await relayWorld(t);
  const stranger = await (await makeAuthority(dir)).client('model-host');
  const good = await authority.client('model-host');
  const nowMs = Date.now();
  const used = await clients.token();
  await clients.dialLink(used).opened();
  const tokens: [string, string, number][] = [
    ['nothing', '', 401],
    ['a used one', used, 401],
    ['another authority', await signPeerToken(stranger, { audience: relay.relayId, nowMs }), 401],
    ['another relay', await clients.token('model-host', 'relay-2'), 401],
    ['old', await signPeerToken(good, { audience: relay.relayId, nowMs: nowMs - 600_000 }), 401],
    ['another name', await clients.token('operator'), 403],
  ];
  for (const [name, token, status] of tokens) {
    const { native } = clients.dialLink(token);
    const [, response] = await once(native, 'unexpected-response');
    assert.equal(response.statusCode, status, name);
  }
});

test('[RLY-01] a valid frame in another encoding is forwarded in canonical form', async (t) => {
  const { device, host, held } = await hostAndDevice(t);
  const callId = randomBytes(16);
  const sparse = create(FrameSchema, {
    kind: FrameKind.CALL,
    device: held.handle,
    epoch: BigInt(held.epoch),
    callId,
    payload: Buffer.from('sparse'),
  });
  host.sendBytes(toBinary(FrameSchema, sparse));
  const received = await device.take(FrameKind.CALL);
  assert.equal(String(Buffer.from(received.payload)), 'sparse');
  assert.equal(received.device, 0);
  device.sendBytes(toBinary(FrameSchema, create(FrameSchema, { kind: FrameKind.DATA, callId })));
  assert.equal((await host.take(FrameKind.DATA)).device, held.handle);
});

test('[RLY-01] ignores and counts frame kinds it does not know, and forwards those of a call', async (t) => {
  const { device, host, held, metrics } = await hostAndDevice(t);
  const { callId } = sendCall(host, held);
  await device.take(FrameKind.CALL);
  for (const kind of [15, 64, 65, 2 ** 31]) device.send({ kind });
  for (const kind of [31, 64, 65, 2 ** 31]) host.send({ kind });
  // Nobody has given these a meaning, and their ranges say whose they are.
  host.send({ kind: 47, callId, device: held.handle, epoch: held.epoch });
  assert.deepEqual(Buffer.from((await device.take(47)).callId), callId);
  device.send({ kind: 63, callId, epoch: held.epoch });
  assert.equal((await host.take(63)).device, held.handle);
  // A kind of the other direction is unknown where it arrives.
  device.send({ kind: 47 });
  host.send({ kind: 63 });
  device.send({ kind: FrameKind.OUTCOME, callId });
  await host.take(FrameKind.OUTCOME);
  await host.open('north', 'laptop');
  const text = await metrics();
  for (const from of ['host', 'device']) {
    assert.match(text, new RegExp(`zl_relay_frames_ignored_total\\{.*from="${from}".*\\} 5\\n`));
  }
});

test('passes the features of a device to its hosts, and names its own', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const identity = await enrolment.device({ deviceId: 'laptop' });
  const device = clients.dialDevice();
  await device.prove(identity, { features: ['of-next-year', 'progress.v9'] });
  const welcome = await device.welcome();
  const host = await clients.host();
  const { opened } = await host.open('north', 'laptop', ['of-a-newer-host']);
  const rpc = await clients.rpc(RelayService);
  const { devices } = await rpc.listDevices({ tenant: 'north' });
  for (const features of [opened.deviceFeatures, devices[0]?.features]) {
    assert.deepEqual(features, ['of-next-year', 'progress.v9']);
  }
  assert.deepEqual([welcome.features, opened.relayFeatures], [[], ['witness']]);
});

test('[RLY-01] refuses a hello with too many features or a feature that is not a name', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const identity = await enrolment.device({ deviceId: 'laptop' });
  const endOf = async (features: string[]) => {
    const client = clients.dialDevice();
    await client.prove(identity, { features });
    return (await client.end()).reason;
  };
  assert.equal(await endOf(Array.from({ length: 33 }, (_, i) => `f${i}`)), 'limit.exceeded');
  assert.equal(await endOf(['x'.repeat(65)]), 'frame.malformed');
});

test('[AUD-04] a question to a witness has a route for one answer', async (t) => {
  const { device, host, held, metrics } = await hostAndDevice(t);
  const callId = randomBytes(16);
  const question = { callId, device: held.handle, epoch: held.epoch, payload: randomBytes(40) };
  host.send({ kind: FrameKind.WITNESS, ...question });
  const asked = await device.take(FrameKind.WITNESS);
  assert.deepEqual([...asked.payload], [...question.payload]);
  for (let i = 0; i < 2; i++) device.send({ kind: FrameKind.WITNESSED, callId });
  assert.equal((await host.take(FrameKind.WITNESSED)).device, held.handle);
  await eventually(async () => /frames_refused.*from="device".* 1\n/.test(await metrics()));
});
