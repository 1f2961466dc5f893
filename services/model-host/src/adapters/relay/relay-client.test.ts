import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary } from '@bufbuild/protobuf';
import { callKey, FrameKind, RENEWAL_FEATURE } from '@zerolatency/frame';
import { CatalogSchema, ServerSchema } from '@zerolatency/proto/bridge';
import { type Open, OpenSchema, RouteLostReason } from '@zerolatency/proto/link';
import { watchRevocations } from '@zerolatency/revocations';
import { revocationFiles, revoked } from '@zerolatency/revocations/testing';
import { verifierFromPem } from '@zerolatency/signing';
import { eventually, tempDir } from '@zerolatency/testing';
import { EchoDevice } from '../../../test/relay/echo-device.ts';
import { attach, oneDevice, relayWorld } from '../../../test/relay/relay-world.ts';

const never = AbortSignal.any([]);

test('[RLY-04] a frame reaches the device through its relay, and the answer returns', async (t) => {
  const limits = { hedgeMs: 3_600_000 };
  const { devices, device, key, directory } = await oneDevice(t, { limits });
  const route = devices.route('north', 'laptop');
  const session = await route.ready(never);
  assert.equal(callKey(session.journalId), callKey(device.journalId));
  assert.equal(session.verifier.keyid, verifierFromPem(key.publicPem).keyid);
  const call = attach(route);
  assert.deepEqual(call.log, ['up 1']);
  call.send(7);
  await eventually(() => call.frames[0]?.offset === 7);
  assert.equal(directory.locates, 1);
});

test('[RLY-04] all calls and devices of a pod share one link', async (t) => {
  const { devices, relay, enrol } = await oneDevice(t);
  relay.connect(new EchoDevice(await enrol('desktop')));
  await Promise.all(['laptop', 'desktop'].map((id) => devices.route('north', id).ready(never)));
  assert.equal(relay.links, 1);
  assert.deepEqual(
    devices.status().links.map(({ state, handles }) => ({ state, handles })),
    [{ state: 'live', handles: 2 }],
  );
});

test('[RLY-04] a host whose clock is an hour behind dials its relays', async (t) => {
  const { host } = await oneDevice(t);
  const devices = host({ nowMs: () => Date.now() - 3_600_000 });
  assert.equal((await devices.route('north', 'laptop').ready(never)).epoch, 1);
});

test('[RLY-04] follows a device that moves to another pod', async (t) => {
  const { devices, device, relay, other } = await oneDevice(t);
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  relay.disconnect(device);
  other.connect(device);
  await eventually(() => call.log.length === 3);
  assert.deepEqual(call.log, ['up 1', 'lost', 'up 2']);
  call.send(1);
  await eventually(() => call.frames.length === 1);
});

test('[RLY-04] dials a link again after it was cut', async (t) => {
  const { devices, relay } = await oneDevice(t);
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  relay.cut();
  await eventually(() => call.log.length === 3);
  assert.deepEqual(call.log, ['up 1', 'lost', 'up 1']);
});

test('[RLY-04] leaves a dead pod for the one that takes the device over', async (t) => {
  const { devices, device, relay, other } = await oneDevice(t);
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  await relay.kill();
  other.connect(device);
  await eventually(() => call.log.at(-1) === 'up 2');
});

test('a credential that the authority did not sign for this device is refused', async (t) => {
  const { devices, device, relay, enrol } = await oneDevice(t);
  device.credential = (await enrol('another')).credential;
  relay.announce(device);
  await assert.rejects(devices.route('north', 'laptop').ready(never), {
    id: 'device.credential_invalid',
  });
});

test('[BRG-04] a host takes over a renewed credential while a call runs', async (t) => {
  const { devices, device, key, relay, enrol } = await oneDevice(t);
  const opens: Open[] = [];
  relay.tamper = (frame) => {
    if (frame.kind === FrameKind.OPEN) opens.push(fromBinary(OpenSchema, frame.payload));
    return [frame];
  };
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  // Without it a relay does not send the renewed one.
  assert.deepEqual(opens[0]?.features, [RENEWAL_FEATURE]);
  const call = attach(route);
  const { credential } = await enrol('laptop', { deviceKey: key, expiresInMs: 7_200_000 });
  device.credential = credential;
  relay.announce(device);
  await eventually(() => route.connection?.credential === credential);
  call.send(1);
  await eventually(() => call.frames.length === 1);
  device.catalog = create(CatalogSchema, { servers: [create(ServerSchema, { name: 'fs' })] });
  relay.announce(device);
  await eventually(() => route.connection?.servers.length === 1);
  assert.equal(route.connection?.credential, credential);
  assert.deepEqual([call.log, opens.length], [['up 1'], 1]);
});

test('[BRG-04] a credential for another key, or of another device, ends the route', async (t) => {
  const { devices, device, relay, enrol } = await oneDevice(t);
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  device.credential = (await enrol('laptop')).credential;
  relay.announce(device);
  // Opened anew with the other key.
  await eventually(() => call.log.length === 3);
  assert.deepEqual(call.log, ['up 1', 'lost', 'up 1']);
  device.credential = (await enrol('another')).credential;
  relay.announce(device);
  await eventually(() => call.log.length === 4);
  await assert.rejects(route.ready(never), { id: 'device.credential_invalid' });
});

test('[BRG-04] a revoked device is not waited for', async (t) => {
  const limits = { connectWaitMs: 3_600_000, reconnectWaitMs: 3_600_000 };
  const { devices, device, relay, directory } = await oneDevice(t, { limits });
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  directory.revoked.add('laptop');
  relay.disconnect(device, RouteLostReason.REVOKED);
  await eventually(() => call.log.at(-1) === 'lost');
  await assert.rejects(route.ready(never), { id: 'device.revoked' });
});

test('an expired credential is refused', async (t) => {
  const { devices, relays, enrol } = await relayWorld(t);
  relays[0]!.connect(new EchoDevice(await enrol('laptop', { expiresInMs: -120_000 })));
  await assert.rejects(devices.route('north', 'laptop').ready(never), {
    id: 'device.credential_invalid',
  });
});

test('a changed catalog reaches the connection without disturbing calls', async (t) => {
  const { devices, device, relay } = await oneDevice(t);
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  device.catalog = create(CatalogSchema, { servers: [create(ServerSchema, { name: 'fs' })] });
  relay.announce(device);
  await eventually(() => route.connection?.servers[0]?.name === 'fs');
  assert.deepEqual(call.log, ['up 1']);
});

test('uses the catalog that arrived while the credential was being checked', async (t) => {
  const { devices, device, relay } = await oneDevice(t);
  relay.tamper = (frame) => {
    if (frame.kind === FrameKind.OPEN) {
      queueMicrotask(() => {
        device.catalog = create(CatalogSchema, { servers: [create(ServerSchema, { name: 'fs' })] });
        relay.announce(device);
      });
    }
    return [frame];
  };
  const { servers } = await devices.route('north', 'laptop').ready(never);
  assert.deepEqual(
    servers.map(({ name }) => name),
    ['fs'],
  );
});

test('[RLY-06] a draining link keeps its open devices, and opens others that have not moved yet', async (t) => {
  const { devices, device, relay, other, enrol } = await oneDevice(t);
  const desktop = new EchoDevice(await enrol('desktop'));
  relay.connect(desktop);
  await devices.route('north', 'laptop').ready(never);
  const call = attach(devices.route('north', 'laptop'));
  relay.drain();
  await eventually(() => devices.status().links[0]?.state === 'draining');
  call.send(3);
  await eventually(() => call.frames.length === 1);
  await devices.route('north', 'desktop').ready(never);
  const late = attach(devices.route('north', 'desktop'));
  late.send(4);
  await eventually(() => late.frames.length === 1);
  other.connect(device);
  relay.disconnect(device, RouteLostReason.DRAINING);
  await eventually(() => call.log.at(-1) === 'up 3');
});

for (const reason of ['DRAINING', 'SUPERSEDED', 'DISCONNECTED'] as const) {
  test(`[RLY-06] a route lost as ${reason} is looked up at once`, async (t) => {
    const hour = 3_600_000;
    const limits = { retry: { minMs: hour, maxMs: hour } };
    const { devices, device, relay, other } = await oneDevice(t, { limits });
    const call = attach(devices.route('north', 'laptop'));
    await eventually(() => call.log.length === 1);
    other.connect(device);
    relay.disconnect(device, RouteLostReason[reason]);
    await eventually(() => call.log.at(-1) === 'up 2');
    assert.deepEqual(call.log, ['up 1', 'lost', 'up 2']);
  });
}

test('drops a silent relay and notifies its calls', async (t) => {
  const { devices, relay } = await oneDevice(t, { limits: { heartbeatMs: 25 } });
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  relay.freeze();
  await eventually(() => call.log.includes('lost'));
});

test('closes an unused route on both sides', async (t) => {
  const { devices, relay } = await oneDevice(t, { limits: { routeIdleMs: 5 } });
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  await eventually(() => devices.status().routes === 0);
  await eventually(() => relay.seen.includes(FrameKind.CLOSE));
  assert.notEqual(devices.route('north', 'laptop'), route);
});

test('an abort ends the wait with its reason', async (t) => {
  const { devices } = await relayWorld(t, { limits: { connectWaitMs: 3_600_000 } });
  const abort = new AbortController();
  const ready = devices.route('north', 'laptop').ready(abort.signal);
  abort.abort();
  await assert.rejects(ready, { id: 'operation.cancelled' });
});

test('a request that was already aborted does not keep a route open', async (t) => {
  const { devices } = await oneDevice(t, { limits: { routeIdleMs: 5 } });
  await assert.rejects(devices.route('north', 'laptop').ready(AbortSignal.abort()));
  await eventually(() => devices.status().routes === 0);
});

test('closing the host settles every waiter', async (t) => {
  const { host } = await relayWorld(t, { limits: { connectWaitMs: 3_600_000 } });
  const devices = host();
  const ready = devices.route('north', 'laptop').ready(never);
  devices.close();
  await assert.rejects(ready, { id: 'server.draining' });
});

test('devices are listed by tenant', async (t) => {
  const { devices } = await oneDevice(t);
  const { devices: found } = await devices.list('north', never);
  assert.deepEqual(
    found.map(({ deviceId }) => deviceId),
    ['laptop'],
  );
  assert.equal((await devices.list('south', never)).devices.length, 0);
});

test('[BRG-04] a host uses no revoked device, although its relay does', async (t) => {
  const list = revocationFiles(tempDir(t));
  await list.publish();
  const watching = { ...list.files, log: { info() {}, warn() {} }, onRefused() {} };
  const revocations = await watchRevocations({ ...watching, pollMs: 2 ** 31 - 1 });
  t.after(() => revocations.close());
  const { devices, relay, enrol, host } = await oneDevice(t, { revocations });
  const other = devices.route('north', 'other');
  relay.connect(new EchoDevice(await enrol('other')));
  await other.ready(never);
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  const call = attach(route);
  await list.publish(revoked('laptop'));
  await revocations.check();
  assert.deepEqual(call.log, ['up 1', 'lost']);
  await assert.rejects(route.ready(never), { id: 'device.revoked' });
  const unaware = host({ revocations: undefined });
  await unaware.route('north', 'laptop').ready(never);
  assert.ok(other.connection !== undefined);
});
