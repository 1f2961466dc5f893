import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { RouteLostReason } from '@zerolatency/proto/link';
import { eventually } from '@zerolatency/testing';
import { EchoDevice } from '../../../test/relay/echo-device.ts';
import { attach, oneDevice, relayWorld } from '../../../test/relay/relay-world.ts';

const never = AbortSignal.any([]);

/** Lookups are counted, and a busy machine answers later than a hedge waits. */
const NO_HEDGE = { hedgeMs: 3_600_000 };

test('a stale owner costs one more lookup', async (t) => {
  const { devices, device, relay, other, directory } = await oneDevice(t, {
    limits: { ...NO_HEDGE, routeIdleMs: 1 },
  });
  await devices.route('north', 'laptop').ready(never);
  await eventually(() => devices.status().routes === 0);
  relay.disconnect(device, RouteLostReason.DISCONNECTED);
  other.connect(device);
  const session = await devices.route('north', 'laptop').ready(never);
  assert.equal(session.epoch, 2);
  assert.equal(directory.locates, 2);
});

test('[RLY-04] reports a device that is not connected at once, and asks once for each turn', async (t) => {
  const limits = { ...NO_HEDGE, connectWaitMs: 3_600_000 };
  const { devices, directory } = await relayWorld(t, { limits });
  for (let turns = 1; turns <= 5; turns += 1) {
    await assert.rejects(devices.route('north', 'laptop').ready(never), { id: 'device.offline' });
    assert.equal(directory.locates, turns);
  }
});

test('a device that left is reported as offline once it had the time to return', async (t) => {
  const limits = { connectWaitMs: 3_600_000, reconnectWaitMs: 50 };
  const { devices, device, relay } = await oneDevice(t, { limits });
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  relay.disconnect(device);
  await eventually(() => route.connection === undefined);
  await assert.rejects(route.ready(never), { id: 'device.offline' });
});

test('waits for a device whose relay was just lost', async (t) => {
  const limits = { reconnectWaitMs: 3_600_000, connectWaitMs: 60_000, routeIdleMs: 5 };
  const { devices, relay, other, directory, enrol } = await oneDevice(t, { limits });
  const call = attach(devices.route('north', 'laptop'));
  const desktop = new EchoDevice(await enrol('desktop'));
  relay.connect(desktop);
  await devices.route('north', 'desktop').ready(AbortSignal.timeout(60_000));
  await eventually(() => call.log.length === 1 && devices.status().routes === 1);
  relay.disconnect(desktop);
  relay.cut();
  await eventually(() => call.log.includes('lost'));
  const { locates } = directory;
  const ready = devices.route('north', 'desktop').ready(never);
  await eventually(() => directory.locates > locates + 2);
  other.connect(desktop);
  assert.equal((await ready).epoch, 3);
});

test('does not wait for an offline device that was never behind the lost relay', async (t) => {
  const hour = 3_600_000;
  const limits = { connectWaitMs: hour, reconnectWaitMs: hour };
  const { devices, relay } = await oneDevice(t, { limits });
  const call = attach(devices.route('north', 'laptop'));
  await eventually(() => call.log.length === 1);
  relay.cut();
  await eventually(() => call.log.includes('lost'));
  const signal = AbortSignal.timeout(60_000);
  await assert.rejects(devices.route('north', 'desktop').ready(signal), { id: 'device.offline' });
});

test('[RLY-08] asks another pod when the owner that one remembers denies the device', async (t) => {
  const limits = { connectWaitMs: 3_600_000 };
  const { devices, device, directory, relay, other } = await oneDevice(t, { limits });
  directory.remember('north', 'laptop', relay);
  relay.disconnect(device);
  other.connect(device);
  const session = await devices.route('north', 'laptop').ready(AbortSignal.timeout(60_000));
  assert.equal(session.epoch, 2);
});

test('[BRG-01] waits longer for a device whose connection was just lost', async (t) => {
  const limits = { connectWaitMs: 1, reconnectWaitMs: 3_600_000 };
  const { devices, device, relay, directory } = await oneDevice(t, { limits });
  const route = devices.route('north', 'laptop');
  const call = attach(route);
  await eventually(() => call.log.length === 1);
  relay.disconnect(device);
  await eventually(() => call.log.length === 2);
  const ready = route.ready(never);
  const { locates } = directory;
  await eventually(() => directory.locates > locates + 2);
  relay.connect(device);
  assert.equal((await ready).epoch, 2);
});

test('does not wait for an unknown device', async (t) => {
  const { devices, directory } = await relayWorld(t, { limits: { connectWaitMs: 3_600_000 } });
  directory.unknown.add('ghost');
  await assert.rejects(devices.route('north', 'ghost').ready(never), { id: 'device.unknown' });
});

test('[RLY-08] pods that cannot tell where a device is are asked again, and do not count as offline', async (t) => {
  const { devices, directory, relays, enrol } = await relayWorld(t, {
    limits: { connectWaitMs: 3_600_000 },
  });
  directory.isDegraded = true;
  const ready = devices.route('north', 'laptop').ready(never);
  await eventually(() => directory.locates > 4);
  relays[0]!.connect(new EchoDevice(await enrol('laptop')));
  assert.equal((await ready).epoch, 1);
});

test('[RLY-08] a turn is told that the directory is degraded, which may be retried', async (t) => {
  const { devices, directory } = await relayWorld(t, { limits: { connectWaitMs: 2_000 } });
  directory.isDegraded = true;
  await assert.rejects(devices.route('north', 'laptop').ready(never), (error: ZlError) => {
    assert.equal(error.id, 'directory.degraded');
    assert.equal(error.retryable, true);
    return true;
  });
});

test('a device of another tenant is not found', async (t) => {
  const { devices } = await oneDevice(t, { limits: { connectWaitMs: 3_600_000 } });
  await assert.rejects(devices.route('south', 'laptop').ready(never), { id: 'device.offline' });
});

test('fails with relay.unreachable when no relay answers, and keeps its address from clients', async (t) => {
  const { devices, relays } = await relayWorld(t, { limits: { connectWaitMs: 1000 } });
  await Promise.all(relays.map((relay) => relay.kill()));
  await assert.rejects(devices.route('north', 'laptop').ready(never), (error: ZlError) => {
    assert.equal(error.id, 'relay.unreachable');
    assert.equal(error.message, 'the relay of the device cannot be reached');
    assert.match(String(error.cause), /https:\/\/\S+:\d+: /);
    return true;
  });
});

test('skips a relay pod that does not answer RPCs', async (t) => {
  const { devices, relays, enrol } = await relayWorld(t);
  await relays[0]!.kill();
  relays[1]!.connect(new EchoDevice(await enrol('laptop')));
  assert.equal((await devices.route('north', 'laptop').ready(never)).epoch, 1);
});
